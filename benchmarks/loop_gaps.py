"""How long the event loop stands still while a graph opens, loads and asks its models for the first time."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from benchmarks.worker import worker

_REACH = 50.0


def measure(settings: Settings) -> Iterator[Result]:
    """Milliseconds of the longest gap, with an embedded model and with an endpoint."""
    for what, file in ((str(settings.file), str(settings.file.path)), ("an endpoint where nobody listens", None)):

        def gap(thread: bool, _round: int, file: str | None = file) -> float:
            with worker(sys.executable, "loop_gaps") as new:
                return float(new.ask(file=file, threads=settings.threads, thread=thread)["gap_ms"])

        sides = {
            "ainvoke": lambda number, gap=gap: gap(False, number),
            "invoke": lambda number, gap=gap: gap(True, number),
        }
        measured = take_turns(sides, settings.rounds, settings.say, unit="ms")
        yield compare(
            ROW.name,
            f"longest gap of the event loop in a new process's first Overton question, {what}",
            "the same by `invoke`, in a thread",
            measured["ainvoke"],
            measured["invoke"],
            "ms",
            "ours - peer",
            reach=None if file is None else _REACH,  # a client's import is not ours to cut up
            at_most=True,
        )


ROW = Row(
    "loop-gaps",
    "the longest gap of the event loop in a process's first question, against the same in a thread",
    "a new process for each; a task sleeps for 1 ms over and over, and what it oversleeps is the gap; two communities "
    "and the merged answer, 8 tokens each",
    measure,
    None,
)
