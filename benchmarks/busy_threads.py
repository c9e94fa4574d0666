"""Six comments on an idle machine and with one core taken, by an engine that may take fewer threads and by one that may
not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.busy import busy
from benchmarks.comments import QUICK_TOKENS, TOKENS, by_engine, comment_prompts
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from modular_pluralism.llama import ChatLlama, close_engines

_WARM_UP = 4
"""Tokens of each of six comments before the clock runs, for which the weights are read."""


def measure(settings: Settings) -> Iterator[Result]:
    """Seconds for six comments, all of them."""
    tokens = settings.few(TOKENS, QUICK_TOKENS)

    def seconds(threads: int | None, taken: int, number: int) -> float:
        # A second engine in the process would count among OpenMP's threads, which then wait for each other in another
        # way; so each measurement has one of its own.
        chat = ChatLlama(gguf=settings.file.path, threads=threads, slots=6)
        try:
            by_engine(chat.engine, comment_prompts(chat, -1 - number), _WARM_UP, number)
            with busy(taken):
                return by_engine(chat.engine, comment_prompts(chat, number), tokens, number)
        finally:
            close_engines()

    measured = take_turns(
        {
            "busy": partial(seconds, None, 1),
            "busy, threads set": partial(seconds, settings.threads, 1),
            "idle": partial(seconds, None, 0),
            "idle, threads set": partial(seconds, settings.threads, 0),
        },
        settings.rounds,
        settings.say,
    )
    with_core = f"six comments of {tokens} tokens with one core taken, {settings.file}"
    for name, ours, against, peer, reach in (
        (with_core, "busy", "the same on an idle machine", "idle", 0.7),
        (with_core, "busy", f"the same with `threads` set to {settings.threads}", "busy, threads set", 1.0),
        (
            f"the same on an idle machine, {settings.file}",
            "idle",
            f"`threads` set to {settings.threads}",
            "idle, threads set",
            0.97,
        ),
    ):
        yield compare(ROW.name, name, against, measured[ours], measured[peer], "s", "peer / ours", reach=reach)


ROW: Row = Row(
    "busy-threads",
    "six comments with one core taken, by an engine that may take fewer threads",
    "the same comments each time, by an engine of its own that has read its weights; the core is taken by a process "
    "that computes all the time, bound to no core",
    measure,
    None,
)

if __name__ == "__main__":
    from benchmarks.serving import main

    sys.exit(main(["--only", ROW.name, *sys.argv[1:]]))
