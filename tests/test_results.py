"""What a run of a graph returns: its results alone, or all of them under one key, so that modes stand side by side."""

from __future__ import annotations

import asyncio
from typing import Any, get_type_hints

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from modular_pluralism import (
    BaselineResult,
    CommentsResult,
    DistributionalResult,
    NodeCache,
    OvertonResult,
    PluralismResult,
    Question,
    SteerableResult,
    build_comments,
    build_distributional,
    build_moe,
    build_overton,
    build_pluralism,
    build_prompting,
    build_steerable,
    build_vanilla,
)
from modular_pluralism.errors import InputError, PoolError, QuorumError
from tests.fake_models import FakeChat, choosing, fake_models, fake_pool

NAMES = ("north", "east", "south")
CONFIG: RunnableConfig = {"configurable": {"thread_id": "one"}}
ASKED: Any = {"question": "Is it so?", "seed": 3}
CHOICE: Any = {**ASKED, "options": ["Yes", "No"]}
GRAPHS: list[Any] = [
    (build_overton, {}, ASKED, OvertonResult),
    (build_steerable, {}, {**CHOICE, "attribute": "thrift"}, SteerableResult),
    (build_distributional, {}, {**CHOICE, "attribute": "thrift"}, DistributionalResult),
    (build_comments, {}, CHOICE, CommentsResult),
    (build_pluralism, {}, {**CHOICE, "mode": "distributional"}, PluralismResult),
    (build_vanilla, {}, CHOICE, BaselineResult),
    (build_prompting, {"mode": "overton"}, ASKED, BaselineResult),
    (build_moe, {}, CHOICE, BaselineResult),
]


def built(build: Any, others: dict[str, Any] | None = None, **more: Any) -> Any:
    base = choosing(lambda seen: {"A": 0.6, "B": 0.2, "1": 0.12, "2": 0.08}, "The base LLM's.")
    return build(fake_pool(NAMES), models=fake_models(base, NAMES, **(others or {})), **more)


@pytest.mark.parametrize(("build", "more", "asked", "result"), GRAPHS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_run_returns_its_results_alone(build: Any, more: Any, asked: Any, result: type, asynchronous: bool) -> None:
    graph = built(build, **more).compile(checkpointer=InMemorySaver())
    found = asyncio.run(graph.ainvoke(asked, CONFIG)) if asynchronous else graph.invoke(asked, CONFIG)
    assert set(found) <= set(get_type_hints(result))
    assert not set(found) & set(asked)
    assert {**asked, **found} == graph.get_state(CONFIG).values
    *_, last = graph.stream(asked, CONFIG, stream_mode="values")
    assert last["question"] == "Is it so?", "who follows the run sees the whole state"


@pytest.mark.parametrize(("build", "more", "asked", "result"), GRAPHS)
def test_all_results_go_into_one_key(build: Any, more: Any, asked: Any, result: type) -> None:
    plain = built(build, **more).compile().invoke(asked)
    graph = built(build, into="spectrum", **more).compile()
    found = graph.invoke(asked)
    assert set(found) == {"spectrum"}
    assert without_seconds(found["spectrum"]) == without_seconds(plain)
    assert set(graph.get_output_jsonschema()["properties"]) == {"spectrum"}


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_seconds(each) for key, each in value.items() if key != "seconds"}
    return value


@pytest.mark.parametrize("into", ["answer", "question", "north", "check", "gather", "two words", "", "comments"])
def test_a_key_that_is_taken_or_no_name_is_refused(into: Any) -> None:
    with pytest.raises(InputError, match=f"The result cannot go into {into!r}; use a name"):
        built(build_overton, into=into)


def test_a_community_cannot_be_called_as_the_last_node() -> None:
    names = ("north", "gather")
    with pytest.raises(PoolError, match="gather"):
        build_overton(fake_pool(names), models=fake_models(choosing(lambda seen: {}), names), into="spectrum")


class Parent(TypedDict, total=False):
    question: str
    options: list[str]
    seed: int
    spectrum: dict[str, Any]
    shares: dict[str, Any]


def parent(others: dict[str, Any] | None = None, **more: Any) -> Any:
    """A graph in which two modes stand side by side."""
    graph = StateGraph(Parent)
    spectrum = built(build_overton, others, into="spectrum", **more).compile()
    shares = built(build_distributional, others, into="shares", scoring="label", **more).compile()
    graph.add_node("overton", spectrum, input_schema=Question)
    graph.add_node("distributional", shares)
    for node in ("overton", "distributional"):
        graph.add_edge(START, node)
        graph.add_edge(node, END)
    return graph


@pytest.mark.parametrize("asynchronous", [False, True])
def test_two_modes_stand_side_by_side(asynchronous: bool) -> None:
    graph = parent().compile(checkpointer=InMemorySaver())
    found = asyncio.run(graph.ainvoke(CHOICE, CONFIG)) if asynchronous else graph.invoke(CHOICE, CONFIG)
    assert found["spectrum"]["answer"] == "The base LLM's."
    assert found["shares"]["distribution"] == pytest.approx([0.75, 0.25])
    assert set(found) == {"question", "options", "seed", "spectrum", "shares"}
    assert graph.get_state(CONFIG).values == found
    again = graph.invoke({**CHOICE, "question": "And now?"}, CONFIG)
    assert again["question"] == "And now?"
    assert set(again["spectrum"]["comments"]) == set(NAMES)


def test_tokens_of_both_modes_are_streamed() -> None:
    said: dict[tuple[str, str], str] = {}
    for namespace, (message, metadata) in parent().compile().stream(CHOICE, stream_mode="messages", subgraphs=True):
        key = (namespace[0].partition(":")[0], metadata["langgraph_node"])
        said[key] = said.get(key, "") + message.text
    of_communities = {(mode, name): f"The view of {name}." for mode in ("overton", "distributional") for name in NAMES}
    assert said == {**of_communities, ("overton", "merge"): "The base LLM's."}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_two_modes_go_on_after_a_community_has_asked_people(asynchronous: bool) -> None:
    def say(seen: Any) -> str:
        said: str = interrupt({"community": "east"})
        return said

    others = {"east": FakeChat(say=say)}
    graph = parent(others).compile(checkpointer=InMemorySaver())

    def go(given: Any) -> Any:
        return asyncio.run(graph.ainvoke(given, CONFIG)) if asynchronous else graph.invoke(given, CONFIG)

    waiting = go(CHOICE)
    assert len(waiting["__interrupt__"]) == 2, "one in each mode"
    replies = {each.id: f"By hand, {number}." for number, each in enumerate(waiting["__interrupt__"])}
    found = go(Command(resume=replies))
    texts = {found[key]["comments"]["east"]["text"] for key in ("spectrum", "shares")}
    assert texts == {"By hand, 0.", "By hand, 1."}
    assert found["shares"]["missing"] == found["spectrum"]["missing"] == []


def test_a_failing_run_leaves_no_result_of_the_one_before() -> None:
    def say(seen: Any) -> Any:
        return ValueError("ill") if "Second?" in seen.prompt else "A view."

    others = {name: FakeChat(say=say) for name in NAMES}
    graph = built(build_overton, others, into="spectrum").compile(checkpointer=InMemorySaver())
    graph.invoke(ASKED, CONFIG)
    with pytest.raises(QuorumError):
        graph.invoke({"question": "Second?"}, CONFIG)
    assert graph.get_state(CONFIG).values["spectrum"] is None


def test_a_cache_serves_such_a_graph() -> None:
    cache, models = NodeCache(), fake_models(choosing(lambda seen: {}, "The base LLM's."), NAMES)
    for into in (None, "spectrum", "spectrum"):
        build_overton(fake_pool(NAMES), models=models, into=into).compile(cache=cache).invoke(ASKED)
    seen = {name: len(model.seen) for name, model in models.items()}  # type: ignore[attr-defined]
    assert seen == {"boss": 2, **dict.fromkeys(NAMES, 1)}, "the merge leads to another node, and else all is the same"
