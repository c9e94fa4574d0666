"""Many requests at once on the real engine: from threads and from asyncio, cancelled, late, and short of room."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modular_pluralism.errors import DeadlineError, EngineClosedError
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Event, Finish, Piece
from modular_pluralism.llama.reading import continuations, next_tokens
from tests.free_slots import all_slots_are_free
from tests.random_model import RANDOM_GGUF

TEXT = "In the middle of the old town there is a square where people meet, and they talk about"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=2048, slots=12, audit=True))
    yield engine
    engine.close()


def tokens(engine: Engine, text: str) -> tuple[int, ...]:
    return tuple(engine.model.tokenize(text, parse_special=False))


def request(engine: Engine, number: int = 0, max_tokens: int = 12, text: str = TEXT) -> GenerationRequest:
    return GenerationRequest(
        tokens(engine, f"{text} matter {number}."), max_tokens, Sampling(seed=number), ignore_end=True
    )


def resident() -> int:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 >> 20


def hundred_requests(engine: Engine) -> list[object]:
    """Fifty from threads and fifty from tasks, of all three kinds."""

    def in_thread(number: int) -> object:
        match number % 3:
            case 0:
                return [event for event in engine.stream(request(engine, number)) if isinstance(event, Finish)]
            case 1:
                return engine.next_token_logprobs([tokens(engine, f"{TEXT} {number}"), tokens(engine, TEXT)])
            case _:
                return engine.read(
                    continuations(
                        tokens(engine, f"{TEXT} {number}"), [tokens(engine, " one"), tokens(engine, " or two")]
                    )
                )

    async def in_task(number: int) -> object:
        match number % 3:
            case 0:
                return [e async for e in engine.astream(request(engine, number)) if isinstance(e, Finish)]
            case 1:
                prompts = [tokens(engine, f"{TEXT} {number}"), tokens(engine, TEXT)]
                return await engine.aread(next_tokens(prompts, engine.model.n_vocab))
            case _:
                following = [tokens(engine, " one"), tokens(engine, " or two")]
                return await engine.aread(continuations(tokens(engine, f"{TEXT} {number}"), following))

    async def all_tasks() -> list[object]:
        return list(await asyncio.gather(*map(in_task, range(50, 100))))

    with ThreadPoolExecutor(50) as pool:
        threads = [pool.submit(in_thread, number) for number in range(50)]
        tasks = asyncio.run(all_tasks())
        return [thread.result() for thread in threads] + tasks


def test_a_hundred_requests_from_threads_and_tasks_all_finish_and_memory_stays(engine: Engine) -> None:
    sizes = []
    for _ in range(3):
        before = engine.stats.requests
        for number, result in enumerate(hundred_requests(engine)):
            match number % 3:
                case 0:
                    assert result == [Finish("length", len(request(engine, number).tokens), 12)]
                case 1:
                    assert isinstance(result, np.ndarray)
                    assert np.allclose(np.exp(result.astype(float)).sum(axis=1), 1, atol=1e-4)
                case _:
                    assert isinstance(result, list)
                    assert [len(row) for row in result] == [1, 2]
                    assert all(np.all(row <= 0) for row in result)
        assert engine.stats.requests - before == 100
        assert all_slots_are_free(engine)
        gc.collect()
        sizes.append(resident())
    assert engine.stats.failed == 0
    assert engine.stats.most_running > 10
    # The first round warms up buffers and caches of token texts.
    assert sizes[-1] - sizes[0] < 20


def test_a_long_prompt_does_not_stall_the_others(engine: Engine) -> None:
    """While 1,900 tokens are read in, a running request gets a token at every step."""
    events: list[tuple[str, int]] = []
    done = threading.Event()

    def note(name: str) -> object:
        def deliver(event: Event) -> None:
            events.append((name, engine.stats.steps))
            if name == "long" and isinstance(event, Finish):
                done.set()

        return deliver

    short = engine.submit_generation(request(engine, 1, max_tokens=400), note("short"))  # type: ignore[arg-type]
    while not any(name == "short" for name, _ in events):
        time.sleep(0.005)
    long_text = (tokens(engine, TEXT) * 300)[:1900]
    started = engine.stats.steps
    engine.submit_generation(GenerationRequest(long_text, max_tokens=1), note("long"))  # type: ignore[arg-type]
    assert done.wait(120)
    first_of_long = next(step for name, step in events if name == "long")
    short.cancel()
    meanwhile = [step for name, step in events if name == "short" and started < step <= first_of_long]
    assert first_of_long - started >= 1900 // (256 + 127)
    assert len(meanwhile) >= (first_of_long - started) - 2


def test_leaving_a_stream_frees_its_place_and_harms_nobody(engine: Engine) -> None:
    alone = list(engine.stream(request(engine, 5)))
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: list(engine.stream(request(engine, 5))))
        stream = engine.stream(request(engine, 6, max_tokens=1900))
        assert isinstance(next(stream), Piece)
        stream.close()  # type: ignore[attr-defined]
        assert [type(event) for event in other.result()] == [type(event) for event in alone]
    assert all_slots_are_free(engine)


async def test_cancelling_a_task_frees_its_place(engine: Engine) -> None:
    at_work = asyncio.Event()

    async def endless() -> None:
        async for _ in engine.astream(request(engine, 7, max_tokens=1900)):
            at_work.set()

    async def reading() -> None:
        prompts = [(tokens(engine, f"{number} not cached. {TEXT}") * 300)[:1900] for number in range(20)]
        await engine.aread(next_tokens(prompts, engine.model.n_vocab))

    tasks = [asyncio.create_task(endless()), asyncio.create_task(reading())]
    await at_work.wait()
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(each, asyncio.CancelledError) for each in await asyncio.gather(*tasks, return_exceptions=True)
    )
    assert all_slots_are_free(engine)


def test_a_deadline_ends_what_runs_and_what_waits() -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=8192, slots=1))
    try:
        running = GenerationRequest(tokens(engine, TEXT), 8000, ignore_end=True, timeout=0.5)
        waiting = GenerationRequest(tokens(engine, TEXT), 8000, ignore_end=True, timeout=0.4)
        with ThreadPoolExecutor(2) as pool:
            both = [pool.submit(lambda each=each: list(engine.stream(each))) for each in (running, waiting)]  # type: ignore[misc]
            for each in both:
                with pytest.raises(DeadlineError):
                    each.result()
        assert engine.stats.failed == 2
        assert all_slots_are_free(engine)
    finally:
        engine.close()


def test_closing_ends_every_request_with_an_error() -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=2048, slots=2))
    with ThreadPoolExecutor(4) as pool:
        requests = [request(engine, number, max_tokens=1900) for number in range(3)]
        streams: list[Future[Any]] = [pool.submit(lambda each=each: list(engine.stream(each))) for each in requests]  # type: ignore[misc]
        reading: Future[Any] = pool.submit(engine.next_token_logprobs, [(tokens(engine, TEXT) * 300)[:1900]])
        while engine.stats.requests < 4:
            time.sleep(0.005)
        engine.close()
        for future in [*streams, reading]:
            with pytest.raises(EngineClosedError):
                future.result(timeout=60)
