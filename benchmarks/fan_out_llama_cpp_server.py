"""Six comments by the engine at once, and by six clients of `llama_cpp.server`, which answers one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from benchmarks import peers
from benchmarks.comments import (
    QUICK_TOKENS,
    SAMPLING,
    TOKENS,
    Prompt,
    by_engine,
    check_counts,
    check_prompts,
    comment_prompts,
    end_tokens,
    opened,
    seed_of,
)
from benchmarks.errors import BenchmarkError
from benchmarks.http_client import request
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from benchmarks.server import server
from modular_pluralism.llama import ChatLlama


def measure(settings: Settings) -> Iterator[Result]:
    """Seconds for six comments, all of them."""
    tokens = settings.few(TOKENS, QUICK_TOKENS)
    with opened(settings) as chat, server("llama_cpp.server", _command(settings, chat), ready="/v1/models") as port:
        ends = end_tokens(chat)
        asyncio.run(_check_tokens(port, comment_prompts(chat, 0)))

        def ours(number: int) -> float:
            return by_engine(chat.engine, comment_prompts(chat, number), tokens, number)

        def theirs(number: int) -> float:
            return asyncio.run(_by_server(port, comment_prompts(chat, number), tokens, number, ends))

        measured = take_turns({"engine": ours, "llama_cpp.server": theirs}, settings.rounds, settings.say)
    yield compare(
        ROW.name,
        f"six comments of {tokens} tokens, {settings.file}",
        "`llama_cpp.server`, six clients",
        measured["engine"],
        measured["llama_cpp.server"],
        "s",
        "peer / ours",
        reach=2.0,
    )


def _command(settings: Settings, chat: ChatLlama) -> list[str]:
    threads = str(settings.threads)
    return [
        *(str(settings.peers.python), "-m", "llama_cpp.server"),
        *("--model", str(settings.file.path), "--host", "127.0.0.1", "--n_ctx", str(chat.context)),
        *("--n_threads", threads, "--n_threads_batch", threads, "--use_mlock", "false"),
    ]


async def _check_tokens(port: int, prompts: list[Prompt]) -> None:
    """It takes no tokens: make sure that it makes the same ones out of the text."""
    for prompt in prompts:
        reply = await request(port, "/extras/tokenize", {"input": prompt.text})
        if tuple(reply["tokens"]) != prompt.tokens:
            raise BenchmarkError("llama_cpp.server makes other tokens out of a prompt than the engine.")


async def _by_server(port: int, prompts: list[Prompt], tokens: int, number: int, ends: list[int]) -> float:
    bodies = [
        {
            "prompt": prompt.text,
            "max_tokens": tokens,
            "logit_bias": {str(token): -1000.0 for token in ends},
            "temperature": SAMPLING.temperature,
            "top_k": SAMPLING.top_k,
            "top_p": SAMPLING.top_p,
            "min_p": SAMPLING.min_p,
            "repeat_penalty": 1.0,
            "seed": seed_of(number, index),
        }
        for index, prompt in enumerate(prompts)
    ]
    started = time.perf_counter()
    replies = await asyncio.gather(*(request(port, "/v1/completions", body) for body in bodies))
    seconds = time.perf_counter() - started
    check_counts("llama_cpp.server", [reply["usage"]["completion_tokens"] for reply in replies], tokens)
    check_prompts(
        "llama_cpp.server",
        [reply["usage"]["prompt_tokens"] for reply in replies],
        [prompt.tokens for prompt in prompts],
    )
    return seconds


ROW = Row(
    "fan-out-llama-cpp-server",
    "six comments at once, against six clients of llama_cpp.server",
    "same file, number of tokens and sampling, and the same prompt tokens, which the server makes out of the text; it "
    "cannot ignore end tokens, so a logit bias rules them out; its default for flash attention, off, and no mlock",
    measure,
    peers.LLAMA_CPP_SERVER,
)
