"""Comments by the engine, and by `llama-server` with as many slots: six of them, and 24."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from benchmarks import peers
from benchmarks.comments import (
    QUICK_TOKENS,
    TOKENS,
    Prompt,
    by_engine,
    check_counts,
    check_prompts,
    comment_prompts,
    opened,
    sampling_json,
    seed_of,
)
from benchmarks.http_client import request
from benchmarks.llama_server import completion, llama_server
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings

_WORDS = {6: "six", 24: "24"}


def measure(settings: Settings) -> Iterator[Result]:
    """Seconds for all comments."""
    for count in _WORDS:
        yield _measure(settings, count)


def _measure(settings: Settings, count: int) -> Result:
    tokens = settings.few(TOKENS, QUICK_TOKENS)
    with opened(settings, slots=count) as chat, llama_server(settings, count) as port:

        def ours(number: int) -> float:
            return by_engine(chat.engine, comment_prompts(chat, number, count), tokens, number)

        def theirs(number: int) -> float:
            return asyncio.run(_by_server(port, comment_prompts(chat, number, count), tokens, number))

        measured = take_turns({"engine": ours, "llama-server": theirs}, settings.rounds, settings.say)
    return compare(
        ROW.name,
        f"{_WORDS[count]} comments of {tokens} tokens, {settings.file}",
        f"`llama-server -np {count}`, {_WORDS[count]} clients",
        measured["engine"],
        measured["llama-server"],
        "s",
        "peer / ours",
        reach=1.0,
    )


async def _by_server(port: int, prompts: list[Prompt], tokens: int, number: int) -> float:
    sampling = {**sampling_json(), "samplers": ["top_k", "top_p", "min_p", "temperature"], "repeat_penalty": 1.0}
    bodies = [
        completion(
            prompt.tokens,
            n_predict=tokens,
            ignore_eos=True,
            cache_prompt=False,
            seed=seed_of(number, index),
            **sampling,
        )
        for index, prompt in enumerate(prompts)
    ]
    started = time.perf_counter()
    replies = await asyncio.gather(*(request(port, "/completion", body) for body in bodies))
    seconds = time.perf_counter() - started
    check_counts("llama-server", [reply["tokens_predicted"] for reply in replies], tokens)
    check_prompts(
        "llama-server", [reply["tokens_evaluated"] for reply in replies], [prompt.tokens for prompt in prompts]
    )
    return seconds


ROW = Row(
    "fan-out-llama-server",
    "six and 24 comments at once, against llama-server with as many slots",
    "same file, prompt tokens, number of tokens, sampling and order of samplers; flash attention on both sides; one "
    "request a comment, all at once, not streamed, no prompt from the cache",
    measure,
    peers.LLAMA_SERVER,
)
