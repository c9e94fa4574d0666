"""How fast a file is read and generates on this machine, through the engine that will run it."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.generation import Event, Finish, GenerationRequest, Piece
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.llama.sampling import Sampling
from modular_pluralism.llama.settings import EngineSettings
from modular_pluralism.prepared.neutral_text import begin_tokens, neutral_tokens

_SEQUENCES = 6
_SHORT_PROMPT = 16
"""Tokens before a generated text, and of the first prompt after loading."""


@dataclass(frozen=True)
class Speeds:
    """What was measured of one file, once: seconds until it had read its first tokens, and tokens a second for
    reading prompts, for six sequences generated together (all six counted), and for one generated alone."""

    start: float
    prompt: float
    together: float
    alone: float


@dataclass(frozen=True)
class Round:
    """The same measurement by the clock, and in seconds of this process on the processor, all threads added. Whatever
    else runs on the machine takes time by the clock, and little of this process', and that from all formats alike."""

    clock: Speeds
    processor: Speeds


class _Moment(NamedTuple):
    clock: float
    processor: float


def _now() -> _Moment:
    return _Moment(time.perf_counter(), time.process_time())


@dataclass(frozen=True)
class SpeedSample:
    """How many tokens a measurement takes: of a prompt, and of each text generated together with others or alone."""

    prompt: int = 512
    together: int = 24
    alone: int = 16


def open_engine(path: Path, threads: int | None) -> Engine:
    """An engine for measuring, with little memory for sequences, and the same threads in all rounds."""
    return Engine(EngineSettings(path, context=1024, slots=2 * _SEQUENCES, threads=threads or usable_cores()))


def measure_file(path: Path, threads: int | None, sample: SpeedSample, turn: int) -> Round:
    """Load a file, measure it once, and close it; `turn` varies the texts.

    Raises:
        ModelLoadError: llama.cpp cannot load it.
    """
    began = _now()
    with closing(open_engine(path, threads)) as engine:
        # The first decode after loading also brings the weights into memory.
        engine.next_token_logprobs([_excerpt(engine, 7 * turn, _SHORT_PROMPT)])
        started = _now()
        prompt = _read_prompt(engine, sample.prompt, turn)
        together = _generate(engine, _SEQUENCES, sample.together, turn)
        alone = _generate(engine, 1, sample.alone, turn)
    clock, processor = (
        Speeds(
            start=started[kind] - began[kind],
            prompt=prompt[kind],
            together=rate_of_all([[moment[kind] for moment in sequence] for sequence in together]),
            alone=rate_of_all([[moment[kind] for moment in sequence] for sequence in alone]),
        )
        for kind in range(2)
    )
    return Round(clock, processor)


def _read_prompt(engine: Engine, length: int, turn: int) -> tuple[float, float]:
    """Tokens a second with which a prompt is read, by each of a moment's two times."""
    # Another beginning in every turn, lest the engine have it in its cache.
    prompt = _excerpt(engine, 100 + 11 * turn, min(length, engine.context - 1))
    began = _now()
    engine.next_token_logprobs([prompt])
    ended = _now()
    return len(prompt) / (ended.clock - began.clock), len(prompt) / max(ended.processor - began.processor, 1e-9)


def _generate(engine: Engine, sequences: int, length: int, turn: int) -> list[list[_Moment]]:
    """When each token of so many sequences came that are generated together."""
    events: queue.SimpleQueue[tuple[int, _Moment, Event]] = queue.SimpleQueue()
    for number in range(sequences):
        prompt = tuple(_excerpt(engine, 40 * number + 13 * turn + 3, _SHORT_PROMPT))
        request = GenerationRequest(prompt, max_tokens=length, sampling=Sampling(seed=turn), ignore_end=True)
        engine.submit_generation(request, partial(_note, events, number))
    moments: list[list[_Moment]] = [[] for _ in range(sequences)]
    running = sequences
    while running:
        number, at, event = events.get()
        if isinstance(event, Exception):
            raise event
        if isinstance(event, Finish):
            running -= 1
        elif isinstance(event, Piece):
            moments[number] += [at] * len(event.tokens)
    return moments


def _note(events: queue.SimpleQueue[tuple[int, _Moment, Event]], number: int, event: Event) -> None:
    events.put((number, _now(), event))


def rate_of_all(times: Sequence[Sequence[float]]) -> float:
    """Tokens a second, from the times of each sequence's tokens: between the last first token and the first last one,
    when all sequences are generating; over everything where there is no such time."""
    begin, end = max(sequence[0] for sequence in times), min(sequence[-1] for sequence in times)
    if end <= begin:
        begin, end = min(sequence[0] for sequence in times), max(sequence[-1] for sequence in times)
    return sum(begin < at <= end for sequence in times for at in sequence) / max(end - begin, 1e-9)


def _excerpt(engine: Engine, start: int, length: int) -> list[int]:
    """A part of the neutral text, which is taken to begin again after its end."""
    tokens = neutral_tokens(engine.model)
    parts = [tokens[(start + number) % len(tokens)] for number in range(length)]
    return [*begin_tokens(engine.model), *parts][:length]
