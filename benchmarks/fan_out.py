"""Six comments by the engine at once, and by `llama_cpp.Llama` one after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

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

_REACH = {"shipped": 1.7, "prepared": 2.7}


def measure(settings: Settings) -> Iterator[Result]:
    """Seconds for six comments, all of them."""
    tokens = settings.few(TOKENS, QUICK_TOKENS)
    with opened(settings) as chat, worker(settings.peers.python, "llama_cpp_python") as peer:
        peer.ask(do="open", file=str(settings.file.path), context=chat.context, threads=settings.threads)

        def ours(number: int) -> float:
            return by_engine(chat.engine, comment_prompts(chat, number), tokens, number)

        def theirs(flash_attention: bool, number: int) -> float:
            prompts = comment_prompts(chat, number)
            reply = peer.ask(
                do="generate",
                prompts=[prompt.tokens for prompt in prompts],
                seeds=[seed_of(number, index) for index in range(len(prompts))],
                tokens=tokens,
                sampling=sampling_json(),
                flash_attention=flash_attention,
            )
            check_counts("llama_cpp.Llama", reply["counts"], tokens)
            return float(reply["seconds"])

        measured = take_turns(
            {
                "engine": ours,
                "llama_cpp.Llama": partial(theirs, False),
                "llama_cpp.Llama with flash attention": partial(theirs, True),
            },
            settings.rounds,
            settings.say,
        )
    for peer_side, how, reach in (
        ("llama_cpp.Llama", "as it comes", _REACH[settings.file.label]),
        ("llama_cpp.Llama with flash attention", "with flash attention", None),
    ):
        yield compare(
            ROW.name,
            f"six comments of {tokens} tokens, {settings.file}",
            f"six calls of `llama_cpp.Llama` in a row, {how}",
            measured["engine"],
            measured[peer_side],
            "s",
            "peer / ours",
            reach=reach,
        )


ROW: Row = Row(
    "fan-out",
    "six comments at once, against llama_cpp.Llama one after the other",
    "same file, prompt tokens, number of tokens and sampling (drawn by llama.cpp's sampler there); the engine "
    "always uses flash attention, `llama_cpp.Llama` only where it is asked to, so it is measured both ways",
    measure,
    peers.LLAMA_CPP,
    files="each",
)

if __name__ == "__main__":
    from benchmarks.serving import main

    sys.exit(main(["--only", ROW.name, *sys.argv[1:]]))
