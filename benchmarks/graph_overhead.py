"""What LangGraph and our nodes add to the models' own time: the Overton graph with models that answer at once, against
the calls alone and a plain LangGraph graph of the same calls; the same with stages of the application's own; and many
runs at once."""

from __future__ import annotations

import asyncio
import gc
import operator
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from benchmarks.comments import said
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from modular_pluralism import Heard, HeardSelected, OvertonQuestion, Pool, PromptSet, build_overton, build_steerable
from modular_pluralism.nodes.render import comment_lines
from modular_pluralism.pool import Community, RemoteModel

_QUESTION = "Should a city ban cars from its centre?"
_COMMUNITIES = (6, 25, 50, 100)
_REACH = 5.0
_RUNS = 20
_STAGES_REACH = 1.0
_CROWD, _MODEL_SECONDS = 100, 0.2
_CROWD_REACH = 1.3
_Call = Callable[[], Awaitable[Any]]


class InstantChat(BaseChatModel):
    """Answers at once, and selects the first comment."""

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("1. I think so."))])

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

        asked: OvertonQuestion = {"question": _QUESTION, "seed": 1}
        calls: dict[str, _Call] = {
            "graph": partial(graph.ainvoke, asked),
            "plain": partial(_plain(pool, chat).ainvoke, asked),
            "calls": directly,
        }
        sides = {name: partial(_milliseconds, call, runs, time.process_time) for name, call in calls.items()}
        measured = take_turns(sides, settings.rounds, settings.say, unit="ms")
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

        if count == _COMMUNITIES[0]:
            yield compare(
                ROW.name,
                f"one run of the Overton graph with {count} communities, models that answer at once",
                "a plain LangGraph graph of the same calls",
                measured["graph"],
                measured["plain"],
                "ms",
                "ours / peer",
                reach=None,
            )

    yield from _own_stages(settings)
    yield from _many_at_once(settings)


def _own_stages(settings: Settings) -> Iterator[Result]:
    models, pool = {"instant": InstantChat()}, _pool(_COMMUNITIES[0])
    overton: dict[str, Any] = {"question": _QUESTION, "seed": 1}
    steerable = {**overton, "attribute": "thrift"}
    first: dict[str, Any] = {"selector": lambda heard: heard["comments"][0]["community"], "respond": _as_selected}
    for own, asked, build, stages in (
        ("a merge", overton, build_overton, {"merge": _side_by_side}),
        ("a selector and an answer", steerable, build_steerable, first),
    ):
        builder: Any = build
        graphs = {"own": builder(pool, models=models, **stages), "built-in": builder(pool, models=models)}
        calls = {name: partial(graph.compile().ainvoke, asked) for name, graph in graphs.items()}
        measured: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(settings.rounds + 1):
            found = _alternating(calls, settings.few(_RUNS, 2))
            settings.say(", ".join(f"{name} {value:.4g} ms" for name, value in found.items()))
            for name, value in found.items() if number else ():  # the first round warms up
                measured[name].append(value)
        yield compare(
            ROW.name,
            f"one run of the {'Overton' if build is build_overton else 'steerable'} graph with {_COMMUNITIES[0]} "
            f"communities and {own} of the application's own",
            "the same graph with the built-in stages, by a model that answers at once",
            measured["own"],
            measured["built-in"],
            "ms",
            "ours - peer",
            reach=_STAGES_REACH,
            at_most=True,
        )


def _many_at_once(settings: Settings) -> Iterator[Result]:
    crowd = settings.few(_CROWD, 10)
    pool, chat = _pool(_COMMUNITIES[0]), SlowChat()
    graph, directly = build_overton(pool, models={"instant": chat}).compile(), _direct_calls(pool, chat)
    plain = _plain(pool, chat)
    asked: list[OvertonQuestion] = [{"question": _QUESTION, "seed": seed} for seed in range(crowd)]

    async def all_of(one: Callable[[OvertonQuestion], Awaitable[Any]]) -> None:
        await asyncio.gather(*map(one, asked))

    calls: dict[str, _Call] = {
        "graphs": partial(all_of, graph.ainvoke),
        "plain": partial(all_of, plain.ainvoke),
        "calls": partial(all_of, lambda _: directly()),
        "one": partial(graph.ainvoke, asked[0]),
    }
    sides = {name: partial(_milliseconds, call, 1, time.perf_counter) for name, call in calls.items()}
    measured = take_turns(sides, settings.rounds, settings.say, unit="ms")
    for name, against, reach in (
        ("plain", "as many runs at once of a plain LangGraph graph of the same calls", _CROWD_REACH),
        ("calls", "the same calls at once, without graphs", None),
        ("one", "one run alone", None),
    ):
        yield compare(
            ROW.name,
            f"{crowd} runs of the Overton graph at once, models that answer after {1000 * _MODEL_SECONDS:.0f} ms",
            against,
            measured["graphs"],
            measured[name],
            "ms",
            "ours / peer",
            reach=reach,
            at_most=True,
        )


def _side_by_side(heard: Heard) -> str:
    return "\n".join(comment["text"] for comment in heard["comments"])


def _as_selected(heard: HeardSelected) -> str:
    return heard["selected"]["text"]


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
    comments = [said(name, "1. I think so.") for name in pool.communities]
    merge = prompts["merge"].render(question=_QUESTION, comments=comment_lines(prompts, comments))

    async def directly() -> None:
        tokens = pool.run.comment_tokens
        await asyncio.gather(*(chat.ainvoke(asked, max_tokens=tokens, seed=1) for _ in pool.communities))
        await chat.ainvoke(merge, max_tokens=pool.run.answer_tokens, seed=1)

    return directly


class _PlainState(TypedDict, total=False):
    question: str
    seed: int | None
    comments: Annotated[dict[str, str], operator.or_]
    answer: str


def _plain(pool: Pool, chat: BaseChatModel) -> Any:
    """What one writes who needs no more than these calls: a node for each comment, and one that merges them."""
    prompts = PromptSet.load()

    def commenting(name: str) -> Any:
        async def comment(state: _PlainState) -> _PlainState:
            asked = prompts["comment"].render(question=state["question"])
            reply = await chat.ainvoke(asked, max_tokens=pool.run.comment_tokens, seed=1)
            return {"comments": {name: reply.text}}

        return comment

    async def merge(state: _PlainState) -> _PlainState:
        comments = comment_lines(prompts, [said(name, text) for name, text in state["comments"].items()])
        asked = prompts["merge"].render(question=state["question"], comments=comments)
        return {"answer": (await chat.ainvoke(asked, max_tokens=pool.run.answer_tokens, seed=1)).text}

    graph = StateGraph(_PlainState)
    graph.add_node("merge", merge)
    for name in pool.communities:
        graph.add_node(name, commenting(name))
        graph.add_edge(START, name)
        graph.add_edge(name, "merge")
    graph.add_edge("merge", END)
    return graph.compile()


def _alternating(calls: Mapping[str, _Call], runs: int) -> dict[str, float]:
    """Milliseconds of one run of each, the median: they take turns run by run, so that little else can differ."""

    async def all_runs() -> dict[str, float]:
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(runs):
            for name, call in calls.items():
                started = time.process_time()
                await call()
                taken[name].append(1000 * (time.process_time() - started))
        return {name: statistics.median(each) for name, each in taken.items()}

    gc.collect()
    return asyncio.run(all_runs())


def _milliseconds(call: _Call, runs: int, clock: Callable[[], float], _round: int) -> float:
    """Of one run, on average."""

    async def all_runs() -> float:
        started = clock()
        for _ in range(runs):
            await call()
        return 1000 * (clock() - started) / runs

    gc.collect()  # what the other side has left is not this one's to clear away
    return asyncio.run(all_runs())


ROW = Row(
    "graph-overhead",
    "the Overton graph with models that answer at once, against the same calls without a graph",
    "`ainvoke` on both sides, six to a hundred communities at once and then the answer; 20 runs a round, of which the "
    "processor's time counts, which other work on the machine hardly changes, and many runs at once by the clock; the "
    "graph also checks the question, makes the prompts and keeps the state",
    measure,
    None,
    files="none",
)
