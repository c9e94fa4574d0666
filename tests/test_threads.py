"""Fewer threads beside other work: the choice, on recorded waits and on reckoned machines; what Linux tells of waits;
and the engine, which follows."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_cpp import llama_cpp as native

from benchmarks.busy import busy
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling, scheduler, threads
from modular_pluralism.llama.generation import Piece
from modular_pluralism.llama.thread_choice import FIRST_PATIENCE, MOST_PATIENCE, WINDOW, ThreadChoice
from modular_pluralism.llama.threads import CoreWaits, Threads
from tests.fake_models import wait_until
from tests.random_model import RANDOM_GGUF

_RECORDED = {
    ("idle", 2): [(1, 236), (5, 209), (21, 215), (3, 253), (1, 231), (5, 259), (11, 238), (56, 227), (1, 226)],
    ("idle", 1): [(0, 210), (0, 211), (0, 227), (0, 240), (0, 241)],
    ("a tenth of a core", 2): [(23, 207), (25, 212), (13, 202), (30, 231), (27, 256), (36, 270), (39, 309), (34, 210)],
    ("a quarter of a core", 2): [(111, 274), (87, 255), (56, 239), (72, 301), (92, 299), (113, 258), (56, 204)],
    ("a core", 2): [(203, 221), (199, 213), (200, 214), (239, 299), (300, 340), (241, 288), (200, 217), (314, 347)],
    ("a core", 1): [(1, 223), (0, 238), (5, 242), (4, 230), (6, 229), (5, 250), (5, 247), (7, 248)],
    ("two cores", 2): [(224, 243), (276, 304), (267, 303), (268, 302), (500, 508), (349, 369)],
    ("two cores", 1): [(100, 298), (118, 279), (112, 326), (101, 285), (146, 369), (141, 264), (64, 241), (72, 247)],
}
"""Milliseconds of (waiting, decoding), on two cores, by what other processes took of them and the engine's threads: six
sequences of the demo model (BF16), AMD EPYC, Linux 6.18."""


def _recorded(load: str) -> Callable[[int, int], float]:
    """The recorded share of waiting of so many threads in the so-manieth window."""

    def share(count: int, window: int) -> float:
        waited, decoding = _RECORDED[load, count][window % len(_RECORDED[load, count])]
        return waited / decoding

    return share


def _reckoned(cores: int, taken: Callable[[float], int]) -> Callable[[int, int], float]:
    """What a fair scheduler makes of so many threads beside processes that want so many cores at a time."""

    def share(count: int, window: int) -> float:
        others = taken(window * WINDOW)
        return count * max(0, count + others - cores) / (count + others)

    return share


def _chosen(choice: ThreadChoice, share: Callable[[int, int], float], seconds: float, start: float = 0) -> list[int]:
    """The number of threads after each window of so many seconds of decoding."""
    windows = range(round(start / WINDOW), round((start + seconds) / WINDOW))
    return [choice.decide(share(choice.threads, window) * WINDOW, WINDOW, window * WINDOW) for window in windows]


@pytest.mark.parametrize("load", ["idle", "a tenth of a core", "a quarter of a core"])
def test_all_threads_stay_where_they_are_worth_it(load: str) -> None:
    assert set(_chosen(ThreadChoice(2), _recorded(load), 60)) == {2}


@pytest.mark.parametrize("load", ["a core", "two cores"])
def test_one_of_two_threads_is_given_up_at_once_and_tried_ever_more_rarely(load: str) -> None:
    chosen = _chosen(ThreadChoice(2), _recorded(load), 120)
    assert chosen[0] == 1
    tries = [number * WINDOW for number, threads in enumerate(chosen) if threads == 2]
    gaps = [after - before for before, after in zip([0.0, *tries], tries, strict=False)]
    expected = [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert gaps == pytest.approx(expected, abs=2 * WINDOW + 0.01), "each try ends after one window"


def test_after_other_work_all_threads_come_back_and_the_next_is_met_as_the_first() -> None:
    choice = ThreadChoice(2)
    _chosen(choice, _recorded("a core"), 40)
    back = _chosen(choice, _recorded("idle"), 70, 40)
    assert back.index(2) * WINDOW <= MOST_PATIENCE
    assert set(back[back.index(2) :]) == {2}
    again = _chosen(choice, _recorded("a core"), 10, 110)
    assert again[0] == 1
    assert again.index(2) * WINDOW == pytest.approx(FIRST_PATIENCE, abs=2 * WINDOW)


def test_a_pause_counts_as_patience() -> None:
    choice = ThreadChoice(2)
    _chosen(choice, _recorded("a core"), 30)
    assert choice.threads == 1
    assert choice.decide(0, WINDOW, 3600) == 2


@pytest.mark.parametrize(
    ("cores", "taken", "threads"),
    [(8, 1, 7), (8, 3, 5), (8, 4, 4), (8, 8, 4), (16, 2, 14), (3, 1, 2), (4, 1, 3), (2, 1, 1)],
)
def test_as_many_fewer_as_cores_are_taken_but_no_fewer_than_half(cores: int, taken: int, threads: int) -> None:
    chosen = _chosen(ThreadChoice(cores), _reckoned(cores, lambda now: taken), 300)
    assert threads in chosen[:5]
    later = chosen[50:]
    assert min(later) == threads
    assert max(later) <= threads + 1
    assert later.count(threads) > 0.97 * len(later)


def test_cores_that_come_free_are_taken_one_after_the_other() -> None:
    choice = ThreadChoice(8)
    chosen = _chosen(choice, _reckoned(8, lambda now: 4 if now < 10 else 1 if now < 60 else 0), 120)
    after = chosen[round(10 / WINDOW) :]
    first = after.index(5)
    assert after[first : first + 4] == [5, 6, 7, 8]
    assert after[first + 4] == 7
    assert chosen[-1] == 8


@given(
    most=st.integers(1, 64),
    windows=st.lists(st.tuples(st.floats(0, 100), st.floats(0.001, 10), st.floats(0, 100)), max_size=60),
)
def test_the_number_stays_within_its_bounds(most: int, windows: Sequence[tuple[float, float, float]]) -> None:
    choice, now = ThreadChoice(most), 0.0
    for waited, decoding, pause in windows:
        now += decoding + pause
        before = choice.threads
        after = choice.decide(waited, decoding, now)
        assert (most + 1) // 2 <= after <= most
        assert after <= before + 1


# -- what Linux tells --------------------------------------------------------------------------------------------------

needs_counts = pytest.mark.skipif(
    not Path(f"/proc/self/task/{threading.get_native_id()}/schedstat").exists(), reason="the host does not tell"
)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """A thread that may be renamed and bound to a core."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@needs_counts
def test_a_thread_waits_where_another_process_wants_its_core(thread: ThreadPoolExecutor) -> None:
    def measured(pid: int) -> float:
        core = min(os.sched_getaffinity(0))
        os.sched_setaffinity(pid, {core})
        os.sched_setaffinity(threading.get_native_id(), {core})
        waits = CoreWaits()
        assert waits.seconds() == pytest.approx(0, abs=0.2)
        _spin(1)
        return waits.seconds()

    with busy(1) as [pid]:
        assert thread.submit(measured, pid).result() > 0.2


@needs_counts
def test_threads_started_since_count_and_others_do_not(thread: ThreadPoolExecutor) -> None:
    ended = threading.Event()

    def started(count: int) -> list[threading.Thread]:
        found = [threading.Thread(target=ended.wait) for _ in range(count)]
        for each in found:
            each.start()
        return found

    def counted() -> tuple[set[int | None], set[int], CoreWaits]:
        before, waits = started(2), CoreWaits()
        own = started(3)
        waits.seconds()
        others.extend(before)
        others.extend(own)
        return {threading.get_native_id(), *(each.native_id for each in own)}, set(waits._ours), waits

    others = started(2)
    try:
        own, found, waits = thread.submit(counted).result()
    finally:
        ended.set()
        for each in others:
            each.join()
    assert found == own
    until_now = waits._waited
    assert thread.submit(waits.seconds).result() >= until_now * 1e-9, "what ended threads have waited is kept"
    # A thread that has been joined is gone for Linux a moment later.
    assert wait_until(lambda: waits.seconds() >= 0 and len(waits._ours) == 1)


@pytest.mark.parametrize("content", [None, "", "0\n", "one two three\n"])
def test_where_the_host_does_not_tell_nothing_adapts(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, thread: ThreadPoolExecutor
) -> None:
    def decoded() -> Threads:
        task = tmp_path / str(threading.get_native_id())
        if content is not None:
            task.mkdir()
            (task / "schedstat").write_text(content)
        found = Threads(4, adaptive=True)
        for _ in range(3):
            with found.decoding():
                _spin(WINDOW)
        return found

    monkeypatch.setattr(threads, "_TASKS", tmp_path)
    assert thread.submit(decoded).result().now == 4


# -- the engine --------------------------------------------------------------------------------------------------------


def _clock() -> float:
    """A hundred times as fast as any other, so that patience takes no time."""
    return 100 * time.perf_counter()


class _Waits(CoreWaits):
    """Stands in for the host: the threads wait for so large a share of the time."""

    share = 0.9

    def __init__(self) -> None:
        self._read, self._all = _clock(), 0.0

    def seconds(self) -> float:
        now = _clock()
        self._all, self._read = self._all + self.share * (now - self._read), now
        return self._all


def _generated(engine: Engine, count: int, tokens: int) -> list[list[int]]:
    """Greedy texts, all at once."""

    def text(number: int) -> list[int]:
        prompt = engine.model.tokenize(f"{number}. A city should", parse_special=False)
        request = GenerationRequest(tuple(prompt), max_tokens=tokens, sampling=Sampling(temperature=0), ignore_end=True)
        return [token for event in engine.generate(request) if isinstance(event, Piece) for token in event.tokens]

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(text, range(count)))


def _crowded(monkeypatch: pytest.MonkeyPatch) -> type[_Waits]:
    """Engines have two cores from now on, for which their threads wait."""

    class Waits(_Waits):
        pass

    def make(most: int, *, adaptive: bool) -> Threads:
        return Threads(most, adaptive=adaptive, waits=Waits, clock=_clock)

    monkeypatch.setattr(scheduler, "usable_cores", lambda: 2)
    monkeypatch.setattr(scheduler, "Threads", make)
    return Waits


@pytest.mark.model
def test_the_engine_takes_one_thread_while_two_wait_and_writes_the_same(
    demo_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Engine(EngineSettings(demo_gguf, context=256, slots=3, threads=2))) as engine:
        expected = _generated(engine, 3, 8)
        assert engine.stats.threads == 2
    waits = _crowded(monkeypatch)
    with closing(Engine(EngineSettings(demo_gguf, context=256, slots=3))) as engine:
        assert engine.stats.threads == 2
        assert _generated(engine, 3, 8) == expected
        assert engine.stats.threads == 1
        waits.share = 0.0
        time.sleep(MOST_PATIENCE / 100)
        assert _generated(engine, 3, 8) == expected
        assert engine.stats.threads == 2


@pytest.mark.parametrize(
    "settings",
    [{"repeatable": True}, {"threads": 2}, {"hardware": Hardware(threads_batch=2)}],
    ids=["repeatable", "threads", "threads_batch"],
)
def test_an_engine_whose_threads_are_set_or_matter_keeps_them(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _crowded(monkeypatch)
    with closing(Engine(EngineSettings(RANDOM_GGUF, context=256, slots=2, **settings))) as engine:
        _generated(engine, 2, 8)
        assert engine.stats.threads == 2


def test_prompts_are_read_with_the_threads_that_are_set_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp itself would decode a token of each of several sequences with these, too."""
    taken: list[tuple[int, ...]] = []
    decode = native.llama_decode

    def recorded(context: Any, batch: Any) -> int:
        numbers = {native.llama_n_threads(context), native.llama_n_threads_batch(context)}
        taken.append((batch.n_tokens, *numbers))
        return int(decode(context, batch))

    monkeypatch.setattr(native, "llama_decode", recorded)
    hardware = Hardware(threads_batch=2)
    with closing(Engine(EngineSettings(RANDOM_GGUF, context=256, slots=2, threads=1, hardware=hardware))) as engine:
        _generated(engine, 2, 8)
    assert {tuple(numbers) for tokens, *numbers in taken if tokens > 2} == {(2,)}
    assert {tuple(numbers) for tokens, *numbers in taken if tokens <= 2} == {(1,)}
