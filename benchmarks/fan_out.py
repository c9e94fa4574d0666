"""Fan-out: the six comments of the demo pool, by the engine at once and by `llama_cpp.Llama` one after the other.

    python benchmarks/fan_out.py

Both sides use the same file, the same prompts, the same number of threads and the same sampling, and generate exactly
128 tokens a comment. The sides take turns within each round, so that what else the machine does hits both.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import describe_machine
from modular_pluralism import Pool, PromptSet
from modular_pluralism.llama import ChatLlama, Engine, GenerationRequest, Sampling
from modular_pluralism.llama.engine import usable_cores
from modular_pluralism.llama.generation import Finish
from modular_pluralism.models import PoolModels

QUESTION = "Should a city ban cars from its centre?"
TOKENS = 128


def prompts(pool: Pool, chat: ChatLlama) -> list[tuple[int, ...]]:
    """The token ids that each community of the pool reads."""
    from langchain_core.messages import SystemMessage

    asked = PromptSet.load()["comment"].render(question=QUESTION)
    personas = [pool.persona_text(name) for name in pool.communities]
    return [tuple(chat.prompt_tokens([SystemMessage(persona or ""), *asked])) for persona in personas]


def by_engine(engine: Engine, rows: list[tuple[int, ...]], seed: int) -> float:
    """Seconds for all comments at once."""

    async def one(tokens: tuple[int, ...], number: int) -> int:
        request = GenerationRequest(tokens, max_tokens=TOKENS, sampling=Sampling(seed=seed + number), ignore_end=True)
        finishes = [event async for event in engine.astream(request) if isinstance(event, Finish)]
        return finishes[0].completion_tokens

    async def everything() -> list[int]:
        return await asyncio.gather(*(one(tokens, number) for number, tokens in enumerate(rows)))

    started = time.perf_counter()
    counts = asyncio.run(everything())
    seconds = time.perf_counter() - started
    if counts != [TOKENS] * len(rows):
        raise SystemExit(f"The engine generated {counts} tokens instead of {TOKENS} each.")
    return seconds


def by_llama(llama: object, rows: list[tuple[int, ...]], seed: int) -> float:
    """Seconds for all comments, one after the other."""
    sampling = Sampling()
    started = time.perf_counter()
    for number, tokens in enumerate(rows):
        llama.reset()  # type: ignore[attr-defined]  # no round may profit from the one before
        llama.set_seed(seed + number)  # type: ignore[attr-defined]
        stream = llama.generate(  # type: ignore[attr-defined]
            list(tokens), top_k=sampling.top_k, top_p=sampling.top_p, min_p=sampling.min_p, temp=sampling.temperature
        )
        count = sum(1 for _ in itertools.islice(stream, TOKENS))
        if count != TOKENS:
            raise SystemExit(f"llama_cpp.Llama generated {count} tokens instead of {TOKENS}.")
    return time.perf_counter() - started


def interval(values: list[float], statistic: Callable[[list[float]], float], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval."""
    random = np.random.default_rng(seed)
    drawn = [statistic(random.choice(values, len(values)).tolist()) for _ in range(2000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="pairs of measurements (default 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    arguments = parser.parse_args()

    from llama_cpp import Llama

    pool = Pool.load("perspective")
    chat = PoolModels(pool).base().chat
    assert isinstance(chat, ChatLlama)
    rows = prompts(pool, chat)
    threads = usable_cores()
    llama = Llama(str(chat.gguf), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)

    by_engine(chat.engine, rows, 0), by_llama(llama, rows, 0)  # warm up
    pairs = []
    for number in range(1, arguments.rounds + 1):
        pairs.append((by_engine(chat.engine, rows, 100 * number), by_llama(llama, rows, 100 * number)))
        if not arguments.json:
            print(f"round {number}: engine {pairs[-1][0]:.2f} s, llama_cpp.Llama {pairs[-1][1]:.2f} s", flush=True)
    ratios = [peer / ours for ours, peer in pairs]
    low, high = interval(ratios, statistics.median)
    result = {
        "engine_seconds": statistics.median(ours for ours, _ in pairs),
        "llama_cpp_seconds": statistics.median(peer for _, peer in pairs),
        "ratio": statistics.median(ratios),
        "ratio_95": [low, high],
        "rounds": len(pairs),
        "machine": describe_machine(),
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(
        f"\nSix comments of {TOKENS} tokens, medians of {len(pairs)} rounds:\n"
        f"  engine, at once              {result['engine_seconds']:6.2f} s\n"
        f"  llama_cpp.Llama, in a row    {result['llama_cpp_seconds']:6.2f} s\n"
        f"  ratio                        {result['ratio']:6.2f}   (95 % interval {low:.2f} to {high:.2f})\n"
        f"{result['machine']}"
    )


if __name__ == "__main__":
    main()
