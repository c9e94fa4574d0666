"""A prefix that sequences share is copied to them: by all cells of its stream, or by the tokens that are there."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.context import Chunk, Context, WholeCopies
from modular_pluralism.llama.model_file import ModelFile

_LENGTHS = (64, 512, 1024, 1536)
_COUNTS = (1, 4, 12)
_CONTEXT = 2048
_WHEN: tuple[WholeCopies, WholeCopies] = ("always", "never")


def measure(settings: Settings) -> Iterator[Result]:
    """Milliseconds of the copies and of the decode that follows, for each length of the prefix and number of copies."""
    model = ModelFile(settings.file.path)
    streams, threads = max(_COUNTS) + 1, settings.threads
    whole, there = (Context(model, Hardware(), streams, _CONTEXT, threads, whole_copies=when) for when in _WHEN)
    try:
        for length in _LENGTHS[: settings.few(len(_LENGTHS), 1)]:
            for context in (whole, there):
                _read(context, length)
            for count in _COUNTS[: settings.few(len(_COUNTS), 1)]:
                yield _measure(settings, whole, there, length, count)
    finally:
        whole.close()
        there.close()
        model.close()


def _measure(settings: Settings, whole: Context, there: Context, length: int, count: int) -> Result:
    measured = take_turns(
        {
            "all cells": lambda _: _copied(whole, length, count),
            "tokens there": lambda _: _copied(there, length, count),
            "no copy": lambda _: _decoded(there, length, count),
        },
        settings.rounds,
        settings.say,
        unit="ms",
    )
    return compare(
        ROW.name,
        f"a prefix of {length} tokens copied to {count} of {whole.streams} sequences by all cells, {settings.file}",
        "the same by the tokens that are there",
        measured["all cells"],
        measured["tokens there"],
        "ms",
        "peer / ours",
        reach=None,
    )


def _read(context: Context, length: int) -> None:
    """Let the first stream hold a prefix of that length, and the others nothing."""
    for stream in range(context.streams):
        context.cut(stream, 0)
    for start in range(0, length, context.batch):
        tokens = [100 + at % 1000 for at in range(start, min(length, start + context.batch))]
        context.decode([Chunk(0, start, tokens, length)])


def _copied(context: Context, length: int, count: int) -> float:
    targets = range(1, count + 1)
    for target in targets:
        context.cut(target, 0)
    began = time.perf_counter()
    for target in targets:
        context.copy(0, target)
    return 1000 * (time.perf_counter() - began) + _decoded(context, length, count)


def _decoded(context: Context, length: int, count: int) -> float:
    targets = range(1, count + 1)
    began = time.perf_counter()
    context.decode([Chunk(target, length, [100], length) for target in targets])
    took = 1000 * (time.perf_counter() - began)
    for target in targets:
        context.cut(target, length)
    return took


ROW = Row(
    "prefix-copies",
    "a shared prefix copied to 1 to 12 sequences by all cells of its stream, against by the tokens that are there",
    f"one process, sequences of {_CONTEXT} tokens; both times include the decode of one token of each sequence that "
    "follows, since only that makes the copies of all cells; an engine copies all cells where the cache lies on a GPU, "
    "and on the processor from half a sequence on",
    measure,
    None,
)
