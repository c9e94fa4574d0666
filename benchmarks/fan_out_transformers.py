"""Six comments by the engine at once, and as the paper's own code makes them: `model.generate`, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import peers
from benchmarks.comments import (
    QUICK_TOKENS,
    TOKENS,
    by_engine,
    check_counts,
    comment_prompts,
    opened,
    sampling_json,
    seed_of,
)
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from benchmarks.worker import worker

_COMMENTS = 6


def measure(settings: Settings) -> Iterator[Result]:
    """Seconds for six comments; the peer makes one a round, each community's in turn, and is taken six times."""
    tokens = settings.few(TOKENS, QUICK_TOKENS)
    with opened(settings) as chat, worker(settings.peers.python, "transformers_model") as peer:
        peer.ask(do="open", file=str(settings.file.path), threads=settings.threads)

        def ours(number: int) -> float:
            return by_engine(chat.engine, comment_prompts(chat, number, _COMMENTS), tokens, number)

        def theirs(number: int) -> float:
            index = number % _COMMENTS
            reply = peer.ask(
                do="generate",
                tokens=comment_prompts(chat, number, _COMMENTS)[index].tokens,
                max_tokens=tokens,
                seed=seed_of(number, index),
                sampling=sampling_json(),
            )
            check_counts("transformers", [reply["count"]], tokens)
            return _COMMENTS * float(reply["seconds"])

        measured = take_turns({"engine": ours, "transformers": theirs}, settings.rounds, settings.say)
    yield compare(
        ROW.name,
        f"six comments of {tokens} tokens, {settings.file}",
        "transformers, `model.generate` one after the other",
        measured["engine"],
        measured["transformers"],
        "s",
        "peer / ours",
        reach=12.0,
    )


ROW = Row(
    "fan-out-transformers",
    "six comments at once, against transformers' generate one after the other, as in the paper's own code",
    "same file, which transformers turns into 32-bit floats, same prompt tokens, number of tokens and sampling "
    "settings (transformers applies the temperature before the filters, llama.cpp after them); transformers makes one "
    "whole comment a round, each community's in turn, and its seconds are taken six times",
    measure,
    peers.TRANSFORMERS,
)
