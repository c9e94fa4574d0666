"""1, 10, 100 and 1,000 questions through one process: seconds a question, and memory."""

from __future__ import annotations

import itertools
import statistics
import sys
from collections.abc import Iterator
from functools import partial

from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from benchmarks.worker import worker

_TOKENS = 16
_AT_ONCE = 32
_COUNTS = (1, 10, 100, 1000)
_QUICK_COUNTS = (1, 2, 4, 8)
_MOST_ROUNDS = 3
"""A hundred questions take a while; a thousand are asked once."""


def measure(settings: Settings) -> Iterator[Result]:
    """Seconds a question for each count against the count before, and the peak of the memory at the end."""
    counts = _QUICK_COUNTS if settings.quick else _COUNTS
    tokens = settings.few(_TOKENS, 4)
    with worker(sys.executable, "many_questions") as ours:
        ours.ask(do="open", file=str(settings.file.path), threads=settings.threads, tokens=tokens)
        asked, peaks = 0, {}

        def ask(count: int, _round: int) -> float:
            nonlocal asked
            reply = ours.ask(do="ask", count=count, first=asked, at_once=_AT_ONCE)
            asked += count
            peaks[count] = float(reply["peak_mib"])
            return float(reply["seconds"]) / count

        *repeated, most = counts
        rounds = min(settings.rounds, _MOST_ROUNDS)
        measured = take_turns({f"{count} questions": partial(ask, count) for count in repeated}, rounds, settings.say)
        each = dict(zip(repeated, measured.values(), strict=True))
        each[most] = [ask(most, rounds + 1)]
        settings.say(f"{most} questions: {each[most][0]:.4g} s each; peak of {peaks[most]:.0f} MiB")
    for fewer, count in itertools.pairwise(counts):
        before = each[fewer] if count != most else [statistics.median(each[fewer])]
        yield compare(
            ROW.name,
            f"{count:,} questions through one process, seconds a question, {settings.file}",
            f"{fewer:,} question{'s' if fewer > 1 else ''}",
            each[count],
            before,
            "s",
            "peer / ours",
            reach=0.95 if count == most else 1.0,
        )
    yield compare(
        ROW.name,
        f"peak memory after {most:,} questions, {settings.file}",
        f"after {repeated[-1]:,} questions",
        [peaks[most]],
        [peaks[repeated[-1]]],
        "MiB",
        "ours / peer",
        reach=1.05,
        at_most=True,
    )


ROW = Row(
    "many-questions",
    "1, 10, 100 and 1,000 questions through one process, against fewer questions",
    f"one community's comment and the merged answer for each question, {_TOKENS} tokens each, by `graph.abatch` with "
    f"at most {_AT_ONCE} questions at a time; the numbers of questions take turns, but for 1,000, which are asked once "
    "at the end; memory is the peak of the resident set of a process of its own",
    measure,
    None,
)
