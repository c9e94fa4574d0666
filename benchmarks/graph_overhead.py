"""What LangGraph and our nodes add to the models' own time: the Overton graph with models that answer at once, the same
with stages of the application's own, and many runs at once."""

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
from modular_pluralism import Heard, OvertonQuestion, Pool, PromptSet, build_overton
from modular_pluralism.nodes.render import comment_lines
from modular_pluralism.pool import Community, RemoteModel

_QUESTION = "Should a city ban cars from its centre?"
_COMMUNITIES = (6, 25, 50, 100)
_REACH = 5.0
_RUNS = 20
_STAGES_REACH = 1.0
_CROWD, _MODEL_SECONDS = 100, 0.2


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


class SlowChat(InstantChat):
    """Answers after a while, without work."""

    async def _agenerate(self, *arguments: Any, **more: Any) -> ChatResult:
        await asyncio.sleep(_MODEL_SECONDS)
        return self._generate([])


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

    yield _own_stages(settings)
    yield _many_at_once(settings)


def _own_stages(settings: Settings) -> Result:
    pool, models = _pool(_COMMUNITIES[0]), {"instant": InstantChat()}
    graphs = {
        "own": build_overton(pool, models=models, merge=_side_by_side).compile(),
        "built-in": build_overton(pool, models=models).compile(),
    }
    runs = settings.few(_RUNS, 2)
    asked: OvertonQuestion = {"question": _QUESTION, "seed": 1}
    sides = {name: partial(_milliseconds, partial(graph.ainvoke, asked), runs) for name, graph in graphs.items()}
    measured = take_turns(sides, settings.rounds, settings.say, unit="ms")
    return compare(
        ROW.name,
        f"one run of the Overton graph with {_COMMUNITIES[0]} communities and a merge of the application's own",
        "the same graph with the built-in merge, by a model that answers at once",
        measured["own"],
        measured["built-in"],
        "ms",
        "ours - peer",
        reach=_STAGES_REACH,
        at_most=True,
    )


def _many_at_once(settings: Settings) -> Result:
    crowd = settings.few(_CROWD, 10)
    pool, chat = _pool(_COMMUNITIES[0]), SlowChat()
    graph, directly = build_overton(pool, models={"instant": chat}).compile(), _direct_calls(pool, chat)
    asked: list[OvertonQuestion] = [{"question": _QUESTION, "seed": seed} for seed in range(crowd)]

    async def all_of_them() -> None:
        await asyncio.gather(*(graph.ainvoke(each) for each in asked))

    async def all_calls() -> None:
        await asyncio.gather(*(directly() for _ in asked))

    sides = {"graphs": partial(_milliseconds, all_of_them, 1), "calls": partial(_milliseconds, all_calls, 1)}
    measured = take_turns(sides, settings.rounds, settings.say, unit="ms")
    return compare(
        ROW.name,
        f"{crowd} runs of the Overton graph at once, models that answer after {1000 * _MODEL_SECONDS:.0f} ms",
        "the same calls at once, without graphs",
        measured["graphs"],
        measured["calls"],
        "ms",
        "ours - peer",
        reach=None,
    )


def _side_by_side(heard: Heard) -> str:
    return "\n".join(comment["text"] for comment in heard["comments"])


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
