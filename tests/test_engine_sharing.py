"""What requests that share the real engine may and may not notice of each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modular_pluralism.errors import DeadlineError, EngineClosedError, EngineFullError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.context import Chunk, Context
from modular_pluralism.llama.generation import Event, Finish, Piece
from modular_pluralism.llama.job import Adapter, JobControl
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.reading import continuations
from tests.architectures import ARCHITECTURES, write_architecture
from tests.fake_models import wait_until
from tests.free_slots import all_slots_are_free
from tests.random_model import RANDOM_GGUF
from tests.tiny_gguf import write_lora

_WORDS = ["Cats", "Rain", "Money", "Paris", "War", "Love", "Bread", "Music", "Snow", "Truth", "Fire", "Time"]


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=512, slots=12, repeatable=True, audit=True))
    yield engine
    engine.close()


class _Listener:
    """Gets one request's events on the engine's thread."""

    def __init__(self, then: Callable[[Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self.ended = threading.Event()
        self._then = then

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if self._then:
            self._then(event)
        if not isinstance(event, Piece):
            self.ended.set()

    @property
    def tokens(self) -> list[int]:
        return [token for event in self.events if isinstance(event, Piece) for token in event.tokens]

    def wait(self) -> list[Event]:
        assert self.ended.wait(120)
        return self.events


def _request(engine: Engine, text: str, length: int, seed: int = 0, **more: object) -> GenerationRequest:
    return GenerationRequest(
        tuple(engine.model.tokenize(text, parse_special=False)),
        max_tokens=length,
        sampling=Sampling(temperature=1, top_k=0, top_p=1, min_p=0, seed=seed),
        ignore_end=True,
        **more,  # type: ignore[arg-type]
    )


def _at_once(engine: Engine, requests: Sequence[GenerationRequest]) -> list[_Listener]:
    """Submit them all between two steps of the engine."""
    listeners = [_Listener() for _ in requests]

    def submit_all(event: Event) -> None:
        if isinstance(event, Finish):
            for request, listener in zip(requests, listeners, strict=True):
                engine.submit_generation(request, listener)

    _Listener.wait(_submitted(engine, _request(engine, "Go", 1), submit_all))
    return listeners


def _submitted(engine: Engine, request: GenerationRequest, then: Callable[[Event], None]) -> _Listener:
    listener = _Listener(then)
    engine.submit_generation(request, listener)
    return listener


def test_a_seed_gives_the_same_text_alone_and_among_eleven_others(engine: Engine) -> None:
    """From 256 tokens on llama.cpp decodes a sequence that runs alone with another kernel; a repeatable engine prevents
    that. Were one sequence to see another's tokens, or get its logits, this would fail, too."""
    requests = [
        _request(engine, f"{word} is " + f"{word} and so on, " * (4 * seed), 40 - seed, seed)
        for seed, word in enumerate(_WORDS)
    ]
    alone = []
    for request in requests:
        alone.append([t for event in engine.stream(request) if isinstance(event, Piece) for t in event.tokens])
    together = _at_once(engine, requests)
    for listener, expected in zip(together, alone, strict=True):
        listener.wait()
        assert listener.tokens == expected
    assert max(len(request.tokens) for request in requests) > 200
    assert engine.stats.most_running == len(requests)


def test_scores_are_the_same_among_texts_that_come_and_go(engine: Engine) -> None:
    prefix = engine.model.tokenize(
        "The committee met again and could not agree on the budget. " * 8, parse_special=False
    )
    others = [
        engine.model.tokenize(text, parse_special=False) for text in (" The chair said", " So the members", "!!!")
    ]
    alone = engine.read(continuations(prefix, others))
    with ThreadPoolExecutor(4) as pool:
        texts = [
            pool.submit(lambda i=i: list(engine.stream(_request(engine, _WORDS[i % 12], 3 + 5 * (i % 4), i))))  # type: ignore[misc]
            for i in range(24)
        ]
        for _ in range(4):
            for row, expected in zip(engine.read(continuations(prefix, others)), alone, strict=True):
                assert np.array_equal(row, expected)
        for text in texts:
            assert isinstance(text.result()[-1], Finish)


def test_every_token_is_counted_once() -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=256, reuse=False, audit=True))
    texts = [_request(engine, f"{word} is", 5) for word in _WORDS[:4]]
    prompts = [[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3]]
    for listener in _at_once(engine, texts):
        listener.wait()
    engine.next_token_logprobs(prompts)
    engine.read(continuations([1, 2, 3], [[4, 5], [6]]))
    # The last token of a text or of a continuation is predicted, and never read. The first request is _at_once's own.
    asked = 1 + sum(len(text.tokens) + 4 for text in texts) + sum(map(len, prompts)) + 4 + 3
    assert engine.stats.tokens_read == asked
    assert engine.stats.tokens_reused == 0
    assert engine.stats.tokens_generated == 1 + 4 * 5
    assert engine.stats.requests == 1 + 4 + 2
    assert engine.stats.failed == 0
    engine.close()


@pytest.mark.parametrize("when", ["running", "waiting"])
def test_cancelling_frees_the_place_and_tells_nobody_else(when: str) -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=1024, audit=True, slots=2 if when == "running" else 1))
    try:
        expected = [event for event in engine.stream(_request(engine, "Rain is", 30)) if isinstance(event, Piece)]
        cancelled = _Listener()
        controls: list[JobControl] = []
        seen: list[int] = []

        def meddle(event: Event) -> None:
            if len(other.events) == 2:
                controls.append(engine.submit_generation(_request(engine, "Cats are", 900), cancelled))
            if len(other.events) == 10:
                controls[0].cancel()
                controls[0].cancel()
                seen.append(len(cancelled.events))

        other = _Listener(meddle)
        engine.submit_generation(_request(engine, "Rain is", 30), other)
        events = other.wait()
        assert isinstance(events[-1], Finish)
        assert other.tokens[:10] == [token for piece in expected for token in piece.tokens][:10]
        assert all_slots_are_free(engine)
        # At most the token of the step in which it was cancelled still came.
        assert len(cancelled.events) - seen[0] <= 1
        assert bool(cancelled.events) == (when == "running")
        assert engine.stats.failed == 0
        controls[0].cancel()  # after the end, too
    finally:
        engine.close()


def test_a_request_that_is_late_in_the_queue_does_not_disturb_the_one_that_runs() -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=1024, slots=1))
    try:
        late = _Listener()

        def submit_late(event: Event) -> None:
            if len(running.events) == 2:
                engine.submit_generation(_request(engine, "Cats are", 5, timeout=0.001), late)

        running = _Listener(submit_late)
        engine.submit_generation(_request(engine, "Rain is", 40), running)
        assert running.wait()[-1] == Finish("length", 2, 40)
        assert [type(event) for event in late.wait()] == [DeadlineError]
        assert engine.stats.failed == 1
        assert all_slots_are_free(engine)
    finally:
        engine.close()


def test_first_come_first_served() -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=256, slots=1, audit=True))
    try:
        order: list[str] = []
        listeners: dict[str, _Listener] = {}

        def submit(name: str, words: int) -> None:
            listeners[name] = _Listener(lambda event: order.append(name))
            engine.submit_generation(_request(engine, "a" + " a" * (words - 1), 20), listeners[name])

        def start(event: Event) -> None:
            if isinstance(event, Finish):
                submit("small", 20)
                submit("large", 236)
                for number in range(5):
                    submit(f"late {number}", 10)

        _submitted(engine, _request(engine, "Go", 1), start).wait()
        for listener in listeners.values():
            assert isinstance(listener.wait()[-1], Finish)
        assert list(dict.fromkeys(order)) == ["small", "large", *(f"late {number}" for number in range(5))]
    finally:
        engine.close()


def test_a_full_queue_refuses_more_and_recovers() -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=256, slots=1, queue=2))
    try:
        first = _Listener()
        refused: list[str] = []

        def submit_more(event: Event) -> None:
            if isinstance(event, Piece) and not waiting:
                for _ in range(2):
                    waiting.append(_Listener())
                    engine.submit_generation(_request(engine, "Rain is", 2), waiting[-1])
                try:
                    engine.submit_generation(_request(engine, "Rain is", 2), _Listener())
                except EngineFullError as error:
                    refused.append(str(error))

        waiting: list[_Listener] = []
        first = _submitted(engine, _request(engine, "Cats are", 5), submit_more)
        assert isinstance(first.wait()[-1], Finish)
        assert all(isinstance(listener.wait()[-1], Finish) for listener in waiting)
        assert len(refused) == 1
        assert "2 requests are waiting" in refused[0]
        assert isinstance(_submitted(engine, _request(engine, "Go", 1), lambda _: None).wait()[-1], Finish)
    finally:
        engine.close()


def test_more_than_64_texts_go_on_side_by_side() -> None:
    """As many rows of logits as slots: none waits until another one has ended."""
    engine = Engine(EngineSettings(RANDOM_GGUF, context=256, slots=80, audit=True))
    try:
        listeners = _at_once(engine, [_request(engine, f"{_WORDS[i % 12]} is", 6, i) for i in range(80)])
        steps = engine.stats.steps
        for listener in listeners:
            assert isinstance(listener.wait()[-1], Finish)
            assert len(listener.tokens) == 6
        assert engine.stats.most_running == 80
        assert engine.stats.steps - steps <= 8
        assert all_slots_are_free(engine)
    finally:
        engine.close()


@pytest.mark.parametrize("round_", range(3))
def test_nobody_waits_for_ever_who_submits_while_the_engine_closes(round_: int) -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=256))
    begun = threading.Barrier(9)

    def ask(number: int) -> str:
        begun.wait()
        for turn in range(10_000):
            try:
                if (number + turn) % 2:
                    list(engine.stream(_request(engine, "Rain", 2)))
                else:
                    engine.next_token_logprobs([engine.model.tokenize("Rain", parse_special=False)])
            except EngineClosedError:
                return "closed"
        return "never closed"

    with ThreadPoolExecutor(8) as pool:
        askers = [pool.submit(ask, number) for number in range(8)]
        begun.wait()
        assert wait_until(lambda: engine.stats.steps > 3 * round_, 60)
        engine.close()
        assert [asker.result(timeout=60) for asker in askers] == ["closed"] * 8


def _copied_texts(
    gguf: Path,
    adapters: Sequence[Adapter | None],
    *,
    whole_copies: Any,
    words: Sequence[str] = _WORDS,
    length: int = 24,
) -> tuple[Engine, list[Any]]:
    """The texts of requests that share a prefix, and whose adapters take turns, after one that has read it."""
    used = tuple(adapter.path for adapter in adapters if adapter is not None)
    engine = Engine(
        EngineSettings(
            gguf, context=512, slots=12, adapters=used, repeatable=True, audit=True, whole_copies=whole_copies
        )
    )
    try:
        prefix = "The committee met again and could not agree on the budget. " * 22
        requests = [
            _request(engine, f"{prefix} {word} {'was there ' * at}", length, at, adapter=adapters[at % len(adapters)])
            for at, word in enumerate(words)
        ]
        firsts = [_request(engine, prefix, 4, adapter=adapter) for adapter in adapters]
        for first in firsts:
            list(engine.stream(first))
        listeners = _at_once(engine, requests)
        for listener in listeners:
            listener.wait()
        return engine, [listener.tokens for listener in listeners]
    finally:
        engine.close()


def test_a_prefix_is_the_same_however_it_is_copied(tmp_path: Path) -> None:
    """Whole streams, as where the cache lies on a GPU, or the tokens that are there; and so are those that move."""
    adapters = [Adapter(write_lora(tmp_path / f"{seed}.gguf", seed=seed)) for seed in range(2)]
    by_state, expected = _copied_texts(RANDOM_GGUF, [None, *adapters], whole_copies="never")
    for whole_copies in ("always", None):
        by_stream, texts = _copied_texts(RANDOM_GGUF, [None, *adapters], whole_copies=whole_copies)
        assert texts == expected
        for engine in (by_state, by_stream):
            assert engine.stats.copies >= 6
            assert engine.stats.moves > 0
        assert by_stream.stats.tokens_reused == by_state.stats.tokens_reused


@pytest.mark.model
def test_the_demo_model_writes_the_same_however_a_prefix_is_copied(demo_gguf: Path) -> None:
    by_state, expected = _copied_texts(demo_gguf, [None], whole_copies="never", words=_WORDS[:4], length=6)
    by_stream, texts = _copied_texts(demo_gguf, [None], whole_copies="always", words=_WORDS[:4], length=6)
    assert texts == expected
    assert by_state.stats.copies == by_stream.stats.copies >= 3


def test_only_what_can_be_cut_anywhere_is_copied_whole(tmp_path: Path) -> None:
    """A copy that waits would undo the checkpoint that is put back before it is made."""
    for architecture in ("gemma3", "lfm2", "llama"):
        model = next(each for each in ARCHITECTURES if each.name == architecture)
        path = write_architecture(tmp_path / f"{architecture}.gguf", model)
        settings = EngineSettings(path, context=512, slots=4, threads=1, audit=True, whole_copies="always")
        engine = Engine(settings)
        assert engine._scheduler._context._whole_copies == ("always" if architecture == "llama" else "never")
        engine.close()


def test_on_a_processor_a_stream_is_copied_whole_once_half_of_it_is_taken() -> None:
    model = ModelFile(RANDOM_GGUF)
    context = Context(model, Hardware(), 3, 256, 1, whole_copies="full")
    tokens = list(range(100, 228))
    settled = []
    context.decode([Chunk(0, 0, tokens[:127], 127)])
    context.copy(0, 1)
    settled.append(context.is_settled)
    context.decode([Chunk(0, 127, tokens[127:], 128)])
    context.copy(0, 1)
    settled.append(context.is_settled)
    context.cut(0, 100)
    context.copy(1, 2)  # of what is not there yet
    rows = context.decode([Chunk(stream, context.tokens_in(stream), [99], 0) for stream in (0, 1, 2)])
    assert [*settled, context.is_settled] == [True, False, True]
    assert [context.tokens_in(stream) for stream in (0, 1, 2)] == [101, 129, 129]
    assert np.allclose(rows[1], rows[2], atol=1e-3)
    expected = np.array(rows[1])
    context.cut(0, 0)
    context.decode([Chunk(0, 0, tokens, 128)])
    assert np.allclose(context.decode([Chunk(0, 128, [99], 0)])[0], expected, atol=1e-2)
    context.close()
    model.close()


def test_sequences_are_moved_only_after_copies_that_wait(tmp_path: Path) -> None:
    """A copy waits for the turn of its adapter while another's sequences have a gap between them."""
    one, other = (Adapter(write_lora(tmp_path / f"{seed}.gguf", seed=seed)) for seed in range(2))
    settings = EngineSettings(
        RANDOM_GGUF, context=512, slots=6, adapters=(one.path, other.path), audit=True, whole_copies="always"
    )
    engine = Engine(settings)
    prefix = "The committee met again and could not agree. " * 6
    try:
        list(engine.stream(_request(engine, "Go", 1)))
        short, copied = _Listener(), _Listener()
        asked = False

        def ask_again(_: Event) -> None:
            nonlocal asked
            if short.ended.is_set() and not asked:
                asked = True
                engine.submit_generation(_request(engine, f"{prefix} Or did it?", 8, adapter=other), copied)

        plain, left, right = _Listener(ask_again), _Listener(), _Listener()

        def begin(event: Event) -> None:
            if isinstance(event, Finish):
                engine.submit_generation(_request(engine, "Cats", 40), plain)
                for listener, length in ((left, 40), (short, 5), (right, 40)):
                    engine.submit_generation(_request(engine, "Rain", length, adapter=one), listener)

        _submitted(engine, _request(engine, f"{prefix} It did. {'And so on. ' * 30}", 1, adapter=other), begin).wait()
        for listener in (plain, left, right, short, copied):
            assert isinstance(listener.wait()[-1], Finish)
        assert engine.stats.copies == 1
        assert engine.stats.moves > 0
    finally:
        engine.close()
