"""The longest time for which the event loop of a new process stands still while its first question is answered."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from benchmarks.workers.protocol import serve
from modular_pluralism import OvertonQuestion, PluralismError, Pool, build_overton
from modular_pluralism.pool import Community, EmbeddedModel, RemoteModel, RunSettings

_TICK = 0.001
_TOKENS = 8


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """`file` is the model's, or None for an endpoint where nobody listens; with `thread` the graph runs in one."""
    graph: Any = build_overton(_pool(request["file"], request["threads"])).compile()
    question: OvertonQuestion = {"question": "Should a city ban cars from its centre?", "seed": 1}

    async def ask() -> None:
        try:
            await (asyncio.to_thread(graph.invoke, question) if request["thread"] else graph.ainvoke(question))
        except PluralismError:
            if request["file"] is not None:
                raise

    return {"gap_ms": 1000 * asyncio.run(_longest_gap(ask))}


async def _longest_gap(ask: Any) -> float:
    await asyncio.sleep(0.2)  # the loop itself has begun
    asking, longest = asyncio.ensure_future(ask()), 0.0
    while not asking.done():
        before = time.perf_counter()
        await asyncio.sleep(_TICK)
        longest = max(longest, time.perf_counter() - before - _TICK)
    await asking
    return longest


def _pool(file: str | None, threads: int) -> Pool:
    model = (
        RemoteModel(openai="none", base_url="http://127.0.0.1:9/v1")
        if file is None
        else EmbeddedModel(gguf=file, threads=threads)
    )
    return Pool(
        base="small",
        models={"small": model},
        communities={name: Community(model="small", description=name) for name in ("people", "others")},
        run=RunSettings(comment_tokens=_TOKENS, answer_tokens=_TOKENS, attempts=1),
        folder=Path(),
    )


if __name__ == "__main__":
    serve(answer)
