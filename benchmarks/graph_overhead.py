"""What LangGraph and our nodes add to the models' own time: the Overton graph with models that answer at once."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from benchmarks.comments import said
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from modular_pluralism import Pool, PromptSet, build_overton
from modular_pluralism.nodes.render import comment_lines
from modular_pluralism.pool import Community, RemoteModel

_QUESTION = "Should a city ban cars from its centre?"
_COMMUNITIES = (6, 25, 50, 100)
_REACH = 5.0
_RUNS = 20


class InstantChat(BaseChatModel):
    """Answers at once."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("I think so."))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages)

    @property
    def _llm_type(self) -> str:
        return "instant"


def measure(settings: Settings) -> Iterator[Result]:
    """Milliseconds a run, for more and more communities."""
    smallest = 0.0
    for count in _COMMUNITIES[: settings.few(len(_COMMUNITIES), 2)]:
        pool, chat = _pool(count), InstantChat()
        graph = build_overton(pool, models={"instant": chat}).compile()
        directly = _direct_calls(pool, chat)
        runs = settings.few(_RUNS, 2)

        measured = take_turns(
            {
                "graph": partial(_milliseconds, partial(graph.ainvoke, {"question": _QUESTION, "seed": 1}), runs),
                "calls": partial(_milliseconds, directly, runs),
            },
            settings.rounds,
            settings.say,
            unit="ms",
        )
        overheads = [ours - peer for ours, peer in zip(measured["graph"], measured["calls"], strict=True)]
        overhead = statistics.median(overheads)
        smallest = smallest or overhead
        growth = 1000 * (overhead - smallest) / (count - _COMMUNITIES[0]) if count > _COMMUNITIES[0] else None
        yield compare(
            ROW.name,
            f"one run of the Overton graph with {count} communities, models that answer at once",
            "the same calls by `ainvoke`, without a graph",
            measured["graph"],
            measured["calls"],
            "ms",
            "ours - peer",
            reach=_REACH if count == _COMMUNITIES[0] else None,
            at_most=True,
            note="" if growth is None else f"{count} communities: {growth:.0f} µs more a run for each one beyond 6",
        )


def _pool(count: int) -> Pool:
    return Pool(
        base="instant",
        models={"instant": RemoteModel(openai="none", base_url="http://127.0.0.1:9/v1")},  # never called
        communities={
            f"community_{number}": Community(model="instant", description=f"Community {number}")
            for number in range(count)
        },
        folder=Path(),
    )


def _direct_calls(pool: Pool, chat: BaseChatModel) -> Callable[[], Awaitable[None]]:
    """The model calls of one run: all comments at once, then the answer. Prompts are made beforehand."""
    prompts = PromptSet.load()
    asked = prompts["comment"].render(question=_QUESTION)
    comments = [said(name, "I think so.") for name in pool.communities]
    merge = prompts["merge"].render(question=_QUESTION, comments=comment_lines(prompts, comments))

    async def directly() -> None:
        tokens = pool.run.comment_tokens
        await asyncio.gather(*(chat.ainvoke(asked, max_tokens=tokens, seed=1) for _ in pool.communities))
        await chat.ainvoke(merge, max_tokens=pool.run.answer_tokens, seed=1)

    return directly


def _milliseconds(call: Callable[[], Awaitable[Any]], runs: int, _round: int) -> float:
    """Of one run, on average."""

    async def all_runs() -> float:
        started = time.perf_counter()
        for _ in range(runs):
            await call()
        return 1000 * (time.perf_counter() - started) / runs

    gc.collect()  # what the other side has left is not this one's to clear away
    return asyncio.run(all_runs())


ROW = Row(
    "graph-overhead",
    "the Overton graph with models that answer at once, against the same calls without a graph",
    "`ainvoke` on both sides, six to a hundred communities at once and then the answer; 20 runs a round; the graph "
    "also checks the question, makes the prompts and keeps the state",
    measure,
    None,
    files="none",
)
