"""Tokens a second while nothing but decoding goes on: the engine, and `llama-batched-bench`, which does not sample."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from functools import partial

from benchmarks import peers
from benchmarks.children import run
from benchmarks.errors import BenchmarkError
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from modular_pluralism import Pool
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Event, Piece

_REACH = {6: 0.90, 24: 0.95, 48: 0.95}
_PROMPT = 128
_STEPS = 128
_LATER = 64
"""Tokens more that a sequence may write, since the first ones to start write while other prompts are being read."""
_CONTEXT = 512
_PATIENCE = 600.0


def measure(settings: Settings) -> Iterator[Result]:
    """Tokens a second of 6, 24 and 48 sequences."""
    engine = Engine(
        EngineSettings(gguf=settings.file.path, context=_CONTEXT, slots=max(_REACH), threads=settings.threads)
    )
    try:
        for count in _REACH:
            yield _measure(settings, engine, count)
    finally:
        engine.close()


def _measure(settings: Settings, engine: Engine, count: int) -> Result:
    steps = settings.few(_STEPS, 8)
    measured = take_turns(
        {
            "engine": lambda number: by_engine(engine, prompts(engine, number, count), steps, number),
            "batched-bench": lambda _: by_batched_bench(settings, count, steps),
        },
        settings.rounds,
        settings.say,
        unit="tokens/s",
    )
    return compare(
        ROW.name,
        f"decoding {count} sequences, {settings.file}",
        "`llama-batched-bench`",
        measured["engine"],
        measured["batched-bench"],
        "tokens/s",
        "ours / peer",
        reach=_REACH[count],
    )


def prompts(engine: Engine, number: int, count: int) -> list[tuple[int, ...]]:
    """Prompts of `_PROMPT` tokens, each beginning elsewhere in the built-in personas."""
    pool = Pool.load("mixed")
    text = "\n".join(pool.persona_text(name) or "" for name in pool.communities)
    tokens = engine.model.tokenize(text, parse_special=False)
    starts = [(number * count + index) * 11 % len(tokens) for index in range(count)]
    return [tuple((tokens[start:] + tokens[:start])[:_PROMPT]) for start in starts]


class Window:
    """The steps in which every sequence decodes: from the last one's first token until one ends, or there are enough.

    The sequence that starts last is the clock. Between two of its tokens lies a whole number of steps, so that no
    token is counted without the time that it took.
    """

    def __init__(self, sequences: int, steps: int) -> None:
        self._to_start = set(range(sequences))
        self._steps = steps
        self._clock = -1
        self._seen = 0
        self._ticks: list[tuple[float, int]] = []
        """Time of each of the clock's tokens, and how many tokens there were by then."""
        self.error: Exception | None = None
        self.over = threading.Event()

    def deliver(self, sequence: int, event: Event) -> None:
        """What the engine calls, on its thread."""
        if self.over.is_set():
            return
        if isinstance(event, Exception):
            self.error = event
            self.over.set()
        elif isinstance(event, Piece):
            self._seen += len(event.tokens)
            if sequence in self._to_start:
                self._to_start.discard(sequence)
                self._clock = sequence
            if not self._to_start and sequence == self._clock:
                self._ticks.append((time.perf_counter(), self._seen))
                if self.steps >= self._steps:
                    self.over.set()
        else:
            self.over.set()

    @property
    def steps(self) -> int:
        """Whole steps so far."""
        return max(0, len(self._ticks) - 1)

    def rate(self) -> float:
        """Tokens a second."""
        (started, before), (ended, after) = self._ticks[0], self._ticks[-1]
        return (after - before) / (ended - started)


def by_engine(engine: Engine, rows: list[tuple[int, ...]], steps: int, number: int) -> float:
    """Tokens a second, sampling included.

    Raises:
        BenchmarkError: the sequences did not decode together for long enough.
    """
    window = Window(len(rows), steps)
    with contextlib.ExitStack() as running:
        for index, tokens in enumerate(rows):
            request = GenerationRequest(
                tokens, max_tokens=steps + _LATER, sampling=Sampling(seed=1000 * number + index), ignore_end=True
            )
            running.callback(engine.submit_generation(request, partial(window.deliver, index)).cancel)
        if not window.over.wait(_PATIENCE):
            raise BenchmarkError(f"{len(rows)} sequences took longer than {_PATIENCE:g} seconds.")
    if window.error is not None:
        raise BenchmarkError(f"The engine failed: {window.error}")
    if window.steps < steps // 2:
        raise BenchmarkError(f"{len(rows)} sequences decoded together for {window.steps} steps only, of {steps}.")
    return window.rate()


def by_batched_bench(settings: Settings, count: int, steps: int) -> float:
    """Tokens a second."""
    threads = str(settings.threads)
    said = run(
        "llama-batched-bench",
        [
            *(
                settings.peers.binary("llama-batched-bench"),
                "-m",
                settings.file.path,
                "-c",
                str(count * (_PROMPT + steps)),
            ),
            *("-npp", str(_PROMPT), "-ntg", str(steps), "-npl", str(count), "-fa", "on", "-t", threads, "-tb", threads),
            *("--output-format", "jsonl"),
        ],
    )
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    if len(lines) != 1 or (lines[0]["pp"], lines[0]["tg"], lines[0]["pl"]) != (_PROMPT, steps, count):
        raise BenchmarkError(f"llama-batched-bench did not measure what it was asked for: {said[-300:]}")
    return float(lines[0]["speed_tg"])


ROW = Row(
    "decode-rate",
    "tokens a second of 6, 24 and 48 sequences, against llama-batched-bench",
    "same file, prompts of 128 tokens, then up to 128 steps in which all sequences decode; flash attention on both "
    "sides; the engine's time includes sampling, text and delivery, which the peer has none of, and its sequences are "
    "a little longer, since those that start first write while other prompts are being read",
    measure,
    peers.BATCHED_BENCH,
)
