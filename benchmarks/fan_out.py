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
    # The two kinds of prompts take turns, and neither is to push the other out of the cache.
    with opened(settings, slots=12) as chat, worker(settings.peers.python, "llama_cpp_python") as peer:
        peer.ask(do="open", file=str(settings.file.path), context=chat.context, threads=settings.threads)

        def ours(known: bool, number: int) -> float:
            prompts = comment_prompts(chat, number, known=known)
            return by_engine(chat.engine, prompts, tokens, number, known=known)

        def theirs(flash_attention: bool, known: bool, number: int) -> float:
            prompts = comment_prompts(chat, number, known=known)
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
                "engine": partial(ours, False),
                "llama_cpp.Llama": partial(theirs, False, False),
                "llama_cpp.Llama with flash attention": partial(theirs, True, False),
                "engine, further question": partial(ours, True),
                "llama_cpp.Llama, further question": partial(theirs, False, True),
            },
            settings.rounds,
            settings.say,
        )
    reach = _REACH[settings.file.label]
    for what, side, peer_side, how, wanted in (
        ("six comments", "engine", "llama_cpp.Llama", "as it comes", reach),
        ("six comments", "engine", "llama_cpp.Llama with flash attention", "with flash attention", None),
        (
            "a further question to six communities: comments",
            "engine, further question",
            "llama_cpp.Llama, further question",
            "as it comes",
            reach,
        ),
    ):
        yield compare(
            ROW.name,
            f"{what} of {tokens} tokens, {settings.file}",
            f"six calls of `llama_cpp.Llama` in a row, {how}",
            measured[side],
            measured[peer_side],
            "s",
            "peer / ours",
            reach=wanted,
        )


ROW: Row = Row(
    "fan-out",
    "six comments at once, against llama_cpp.Llama one after the other",
    "same file, prompt tokens, number of tokens and sampling (drawn by llama.cpp's sampler there); the engine "
    "always uses flash attention, `llama_cpp.Llama` only where it is asked to, so it is measured both ways; at a "
    "further question the engine has the communities' system prompts in its cache, and `Llama` only the last one's",
    measure,
    peers.LLAMA_CPP,
    files="each",
)

if __name__ == "__main__":
    from benchmarks.serving import main

    sys.exit(main(["--only", ROW.name, *sys.argv[1:]]))
