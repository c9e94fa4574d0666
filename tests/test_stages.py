"""Stages of the application's own: a merge, a selector, an answer, a pooling, and stages after the comments."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from modular_pluralism import (
    Comment,
    Heard,
    HeardComment,
    HeardSelected,
    NodeCache,
    build_comments,
    build_distributional,
    build_overton,
    build_pluralism,
    build_steerable,
    pluralism_tool,
)
from modular_pluralism.errors import InputError, ModelCallError, PoolError, QuorumError
from tests.fake_models import FakeChat, always, choosing, fake_models, fake_pool, scripted

NAMES = ("north", "east", "south")
ASKED: Any = {"question": "Is it so?", "seed": 3}
STEERED: Any = {**ASKED, "attribute": "thrift"}
CHOICE: Any = {**ASKED, "options": ["Yes", "No"]}
CONFIG: RunnableConfig = {"configurable": {"thread_id": "one"}}


def settings(**others: Any) -> dict[str, Any]:
    base = choosing(lambda seen: {"A": 0.6, "B": 0.2, "1": 0.12, "2": 0.08}, "The base LLM's.")
    return {"pool": fake_pool(NAMES), "models": fake_models(base, NAMES, **others)}


def run(build: Any, asked: Any, others: Mapping[str, Any] | None = None, **stages: Any) -> dict[str, Any]:
    return dict(build(**settings(**(others or {})), scoring="label", **stages).compile().invoke(asked))


def overton(others: Mapping[str, Any] | None = None, **stages: Any) -> dict[str, Any]:
    return dict(build_overton(**settings(**(others or {})), **stages).compile().invoke(ASKED))


def _raising(error: Exception) -> Any:
    def stage(given: Any) -> str:
        raise error

    return stage


# The merge


def test_a_function_merges() -> None:
    asked: list[Heard] = []

    def merge(heard: Heard) -> str:
        asked.append(heard)
        return " / ".join(comment["text"] for comment in heard["comments"])

    result = overton({"east": always(ValueError("ill"))}, merge=merge)
    assert result["answer"] == "The view of north. / The view of south."
    assert result["missing"] == ["east"]
    (heard,) = asked
    assert {key: value for key, value in heard.items() if key not in ("comments", "seed")} == {
        "question": "Is it so?",
        "attribute": None,
        "options": None,
        "history": [],
        "missing": ["east"],
    }
    assert all(type(comment) is dict for comment in heard["comments"])
    assert [comment["community"] for comment in heard["comments"]] == ["north", "south"]


async def test_a_coroutine_function_merges() -> None:
    async def merge(heard: Heard) -> AIMessage:
        await asyncio.sleep(0)
        return AIMessage(f"{len(heard['comments'])} views", usage_metadata=_USAGE)

    result = await build_overton(**settings(), merge=merge).compile().ainvoke(ASKED)
    assert result["answer"] == "3 views"
    assert result["usage"]["completion_tokens"] == 5


_USAGE: Any = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_chain_merges_as_it_stands(asynchronous: bool) -> None:
    writer = always("Woven together.")
    chain = ChatPromptTemplate.from_messages([("human", "{question} {comments}")]) | writer | StrOutputParser()
    graph = build_overton(**settings(), merge=chain).compile()
    result = asyncio.run(graph.ainvoke(ASKED)) if asynchronous else graph.invoke(ASKED)
    assert result["answer"] == "Woven together."
    assert "The view of north." in writer.prompts[0]


def test_a_graph_merges() -> None:
    inner = StateGraph(MessagesState)
    inner.add_node("write", lambda state: {"messages": [AIMessage("From within.")]})
    inner.add_edge(START, "write")
    inner.add_edge("write", END)
    assert overton(merge=inner.compile())["answer"] == "From within."


def test_the_models_of_a_merge_are_told_to_callbacks_and_stream_their_tokens() -> None:
    told: list[Any] = []

    class Log(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, *, metadata: Any = None, **more: Any) -> None:
            if metadata["role"] == "merge":
                told.append((metadata["mode"], metadata["own_part"]))

    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | always("Woven together.") | StrOutputParser()
    graph = build_overton(**settings(), merge=chain).compile()
    said = ""
    streamed: Any = graph.stream(ASKED, {"callbacks": [Log()]}, stream_mode="messages")
    for message, metadata in streamed:
        if metadata["langgraph_node"] == "merge":
            said += message.text
    assert said == "Woven together."
    assert told == [("overton", "merge")]


def test_the_nodes_keep_their_names() -> None:
    same: list[Any] = [
        (build_overton, {"merge": len}),
        (build_steerable, {"selector": len, "respond": len}),
        (build_distributional, {"pooling": max}),
    ]
    for build, stages in same:
        plain, own = list(build(**settings()).nodes), list(build(**settings(), **stages).nodes)
        assert plain == own


def test_the_quorum_is_checked_before_a_stage_is_asked() -> None:
    def never(given: Any, *more: Any) -> str:
        raise AssertionError("asked")

    ill = {"north": always(ValueError("ill")), "east": always(ValueError("ill"))}
    for build, asked, stages in [
        (build_overton, ASKED, {"merge": never}),
        (build_steerable, STEERED, {"selector": never}),
        (build_distributional, CHOICE, {"pooling": never}),
    ]:
        with pytest.raises(QuorumError, match="1 of 3 communities answered"):
            build(**settings(**ill), **stages).compile().invoke(asked)  # type: ignore[operator]


def test_a_stage_that_fails_is_tried_again_and_told() -> None:
    say = scripted(ConnectionError("gone"), "Second time.")
    answers = iter([1, 2])

    def flaky(heard: Heard) -> str:
        said = say(next(answers))  # type: ignore[arg-type]
        if isinstance(said, Exception):
            raise said
        return said

    result = dict(
        build_overton(fake_pool(NAMES, attempts=2), models=settings()["models"], merge=flaky).compile().invoke(ASKED)
    )
    assert (result["answer"], result["usage"]["attempts"]) == ("Second time.", 2)
    with pytest.raises(ModelCallError, match="merge failed: no luck"):
        overton(merge=_raising(OSError("no luck")))


@pytest.mark.parametrize("error", [KeyError("typo"), TypeError("wrong"), ValueError("odd"), RuntimeError("odd")])
def test_a_mistake_in_a_stage_is_raised_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        overton(merge=_raising(error))
    assert caught.value is error
    with pytest.raises(type(error)):
        overton(after_comments=[_raising(error)])


@pytest.mark.parametrize(
    "stage",
    [
        _raising(ConnectionError("gone")),
        lambda heard: json.loads("no JSON"),
        lambda heard: always(ValueError("what a provider says")).invoke("Is it true?"),
        RunnableLambda(str) | always(RuntimeError("what a provider says")),
    ],
)
def test_what_the_outside_does_wrong_in_a_stage_is_survived(stage: Any) -> None:
    graph = build_comments(**settings(), after_comments=[stage]).compile()
    with pytest.raises(QuorumError, match=r"after_comments\[0\]"):
        graph.invoke(ASKED)
    with pytest.raises(ModelCallError):
        asyncio.run(build_overton(**settings(), merge=stage).compile().ainvoke(ASKED))


def test_a_dict_is_a_stage_as_langchain_has_it() -> None:
    both = {"text": lambda heard: "Checked.", "error": lambda heard: None}
    assert overton(after_comments=[both])["comments"]["north"]["text"] == "Checked."
    said = {"messages": lambda heard: [AIMessage(heard["question"].upper())]}
    cache = NodeCache()
    graph = build_overton(**settings(), merge=said).compile(cache=cache)
    assert [graph.invoke(ASKED)["answer"] for _ in range(2)] == ["IS IT SO?"] * 2
    with pytest.raises(InputError, match="merge is a"):
        build_overton(**settings(), merge={"a": 3})


def test_what_cannot_be_asked_is_refused_when_the_graph_is_built() -> None:
    wrong: Any = 3
    for build, stages in [
        (build_overton, {"merge": wrong}),
        (build_overton, {"after_comments": [wrong]}),
        (build_steerable, {"selector": wrong}),
        (build_steerable, {"respond": wrong}),
    ]:
        with pytest.raises(InputError, match="is 3; give a Runnable"):
            build(**settings(), **stages)  # type: ignore[operator]
    with pytest.raises(InputError, match="pooling is 3; give 'linear', 'log-linear' or 'median', a function"):
        build_distributional(**settings(), pooling=wrong)
    with pytest.raises(InputError, match="give a list of Runnables"):
        build_overton(**settings(), after_comments=wrong)


# The selector and the answer


@pytest.mark.parametrize(
    ("said", "probabilities"),
    [("east", None), ({"east": 3, "north": 1}, {"north": 0.25, "east": 0.75, "south": 0.0})],
)
def test_a_selector_names_a_community_or_weighs_them(said: Any, probabilities: Any) -> None:
    result = run(build_steerable, STEERED, selector=lambda heard: said)
    assert result["selected"]["community"] == "east"
    assert result["selected"]["probabilities"] == probabilities
    assert result["answer"] == "The base LLM's."


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ("west", ModelCallError, "selector named 'west'; the communities that answered are north, south."),
        ("east", ModelCallError, "selector named 'east'"),  # who is missing
        ({"east": 1.0}, ModelCallError, "selector named 'east'"),
        ({"north": -1.0}, ModelCallError, "weights are finite and not negative"),
        ({"north": math.nan}, ModelCallError, "weights are finite and not negative"),
        ({"north": 0}, ModelCallError, "one of them is above 0"),
        ({}, ModelCallError, "one of them is above 0"),
        ({"north": "much"}, TypeError, "selector returned dict; return the name of a community"),
        (None, TypeError, "selector returned NoneType"),
    ],
)
def test_what_is_no_selection_is_one_sentence(said: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        run(build_steerable, STEERED, {"east": always(ValueError("ill"))}, selector=lambda heard: said)


def test_an_answer_of_ones_own_is_given_the_selected_comment() -> None:
    def respond(heard: HeardSelected) -> str:
        return f"As {heard['selected']['community']} of {len(heard['comments'])} says on {heard['attribute']}."

    result = run(build_steerable, STEERED, selector=lambda heard: "east", respond=respond)
    assert result["answer"] == "As east of 3 says on thrift."
    chosen = run(build_steerable, {**STEERED, **CHOICE}, respond=lambda heard: "No")
    assert (chosen["choice"], chosen["answer"]) == ("No", "No")
    with pytest.raises(ModelCallError, match="respond answered 'Maybe', which is none of the question's options"):
        run(build_steerable, {**STEERED, **CHOICE}, respond=lambda heard: "Maybe")


# Pooling


def reading(*shares: Sequence[float]) -> Any:
    """A base LLM that reads these shares for north, east and south."""

    def prefer(seen: Any) -> dict[str, float]:
        (place,) = [at for at, name in enumerate(NAMES) if f"The view of {name}." in seen.prompt]
        return dict(zip("ABC", shares[place], strict=False))

    return fake_models(choosing(prefer), NAMES)


SHARES = ((0.8, 0.1, 0.1), (0.5, 0.3, 0.2), (0.1, 0.2, 0.7))
THREE: Any = {**ASKED, "options": ["Yes", "No", "Both"]}


def pooled(**more: Any) -> dict[str, Any]:
    run_settings = more.pop("run", {})
    graph = build_distributional(
        fake_pool(NAMES, **run_settings), models=reading(*SHARES), scoring="label", **more
    ).compile()
    return dict(graph.invoke(THREE))


def test_the_median_is_of_each_option_and_normalised() -> None:
    result = pooled(pooling="median")
    assert result["distribution"] == pytest.approx([0.5 / 0.9, 0.2 / 0.9, 0.2 / 0.9])
    assert result["pooling"] == "median"
    assert result["disagreement"] == pooled()["disagreement"]
    assert pooled(run={"pooling": "median"})["distribution"] == result["distribution"]
    assert "pooling" not in pooled()
    assert pooled(run={"pooling": "median"}, pooling="linear")["distribution"] == pooled()["distribution"]


def test_log_linear_pooling() -> None:
    products = [math.prod(column) ** (1 / 3) for column in zip(*SHARES, strict=True)]
    assert pooled(pooling="log-linear")["distribution"] == pytest.approx([each / sum(products) for each in products])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_function_pools(asynchronous: bool) -> None:
    def boldest(distributions: Mapping[str, Sequence[float]], weights: Mapping[str, float]) -> Sequence[float]:
        assert list(distributions) == list(weights) == list(NAMES)
        assert sum(weights.values()) == pytest.approx(1)
        return distributions[max(distributions, key=lambda name: max(distributions[name]))]

    async def aboldest(distributions: Mapping[str, Sequence[float]], weights: Mapping[str, float]) -> Sequence[float]:
        return boldest(distributions, weights)

    graph = build_distributional(
        fake_pool(NAMES), models=reading(*SHARES), scoring="label", pooling=aboldest if asynchronous else boldest
    ).compile()
    result = asyncio.run(graph.ainvoke(THREE)) if asynchronous else graph.invoke(THREE)
    assert result["distribution"] == pytest.approx(list(SHARES[0]))
    assert result["pooling"] == "own"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ([0.5, 0.5], ModelCallError),
        ([0.5, 0.6, -0.1], ModelCallError),
        ([0.5, 0.5, 0.5], ModelCallError),
        ([1.0, math.nan, 0.0], ModelCallError),
        ("abc", TypeError),
        (None, TypeError),
    ],
)
def test_what_is_no_distribution_is_one_sentence(said: Any, error: Any) -> None:
    with pytest.raises(error, match="pooling returned"):
        pooled(pooling=lambda distributions, weights: said)


# Stages after the comments


def checked(heard: HeardComment) -> str | None:
    comment = heard["comment"]
    if comment["community"] == "north":
        raise ModelCallError("It says what is not so.")
    return None if comment["community"] == "south" else f"Checked: {comment['text']}"


@pytest.mark.parametrize(
    ("build", "asked"), [(build_overton, ASKED), (build_steerable, STEERED), (build_distributional, CHOICE)]
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_comment_passes_the_stages(build: Any, asked: Any, asynchronous: bool) -> None:
    graph = build(**settings(), after_comments=[checked, lambda heard: heard["comment"]["text"].upper()]).compile()
    result = asyncio.run(graph.ainvoke(asked)) if asynchronous else graph.invoke(asked)
    assert {name: comment["text"] for name, comment in result["comments"].items()} == {
        "north": "The view of north.",
        "east": "CHECKED: THE VIEW OF EAST.",
        "south": "THE VIEW OF SOUTH.",
    }
    assert result["comments"]["north"]["error"] == "It says what is not so."
    assert result["missing"] == ["north"]


def test_a_stage_may_return_a_comment() -> None:
    def moderate(heard: HeardComment) -> Comment:
        comment = heard["comment"]
        if comment["community"] == "north":
            return {**comment, "error": "Not fit for print."}
        return {**comment, "text": "Shorter."}

    result = overton(after_comments=[moderate])
    assert result["comments"]["north"]["error"] == "Not fit for print."
    assert result["comments"]["east"]["text"] == "Shorter."
    assert result["comments"]["east"]["completion_tokens"] == 4, "what it has cost stays the community's"
    wrong: Any
    for wrong in ({"text": 3}, {"text": "a", "error": 3}, 3):
        with pytest.raises(TypeError, match=r"after_comments\[0\] returned"):
            overton(after_comments=[lambda heard, wrong=wrong: wrong])
    with pytest.raises(QuorumError, match=r"after_comments\[0\] left nothing of the comment"):
        overton(after_comments=[lambda heard: {"text": " "}])


def test_a_community_that_has_failed_passes_no_stage() -> None:
    seen: list[str] = []

    def stage(heard: HeardComment) -> None:
        seen.append(heard["comment"]["community"])

    result = overton({"east": always(ValueError("ill"))}, after_comments=[stage])
    assert sorted(seen) == ["north", "south"]
    assert result["missing"] == ["east"]


async def test_no_community_waits_for_the_slowest_one() -> None:
    """South's check is over before north has commented."""
    north_may_speak = asyncio.Event()

    async def stage(heard: HeardComment) -> None:
        if heard["comment"]["community"] == "south":
            north_may_speak.set()

    class Slow(FakeChat):
        async def _astream(self, messages: Any, *arguments: Any, **more: Any) -> Any:
            await asyncio.wait_for(north_may_speak.wait(), 10)
            async for chunk in super()._astream(messages, *arguments, **more):
                yield chunk

    graph = build_overton(**settings(north=Slow(say=lambda seen: "Late.")), after_comments=[stage]).compile()
    assert (await graph.ainvoke(ASKED))["comments"]["north"]["text"] == "Late."


def test_votes_are_no_comments() -> None:
    with pytest.raises(InputError, match="the communities do not comment"):
        build_distributional(**settings(), voice="vote", after_comments=[checked])


# Comments alone


def test_comments_alone() -> None:
    graph = build_comments(**settings(east=always(ValueError("ill"))), after_comments=[lambda heard: "Checked."])
    asked: Any = {**CHOICE, "attribute": "thrift"}
    result = graph.compile().invoke(asked)
    assert set(result) == {"comments", "missing"}
    assert result["missing"] == ["east"]
    assert result["comments"]["north"]["text"] == "Checked."
    with pytest.raises(QuorumError):
        build_comments(**settings(), after_comments=[_raising(ModelCallError("no"))]).compile().invoke(ASKED)


# Subsets


def test_some_of_the_communities_are_asked() -> None:
    result = overton({"north": always(ValueError("never asked"))}, communities=["south", "east"])
    assert list(result["comments"]) == ["east", "south"]
    assert result["missing"] == []
    with pytest.raises(PoolError, match="has no community 'west'; use one of north, east, south"):
        overton(communities=["west"])
    with pytest.raises(PoolError, match="no community is asked"):
        overton(communities=[])
    one = build_overton(fake_pool(NAMES, quorum=2), models=settings()["models"], communities=["north"]).compile()
    assert list(one.invoke(ASKED)["comments"]) == ["north"], "the quorum is all who are asked"


def test_a_question_may_weigh_the_communities_itself() -> None:
    graph = build_distributional(fake_pool(NAMES), models=reading(*SHARES), scoring="label").compile(
        checkpointer=InMemorySaver()
    )
    weighed: Any = {**THREE, "priors": {"south": 3, "north": 1}}
    result = graph.invoke(weighed, CONFIG)
    assert result["weights"] == {"north": 0.25, "east": 0.0, "south": 0.75}
    assert result["distribution"] == pytest.approx([0.275, 0.175, 0.55])
    weighed["priors"] = None
    assert graph.invoke(weighed, CONFIG)["weights"]["east"] == pytest.approx(1 / 3)
    everything = build_pluralism(fake_pool(NAMES), models=reading(*SHARES), scoring="label").compile()
    of_mode: Any = {**THREE, "mode": "distributional", "priors": {"east": 2}}
    assert everything.invoke(of_mode)["weights"]["east"] == 1.0


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ({"west": 1}, "The priors name 'west'; the communities are north, east, south."),
        ({"north": -1}, "The prior of north is -1; give a number"),
        ({"north": math.inf}, "The prior of north is inf"),
        ({"north": 10**400}, "The prior of north is 1000"),
        ({"north": True}, "The prior of north is True"),
        ({"north": "1"}, "The prior of north is '1'"),
        ({"north": 0}, "The priors give no community a weight above 0"),
        ({}, "The priors give no community a weight above 0"),
        ([1, 2, 3], "The priors are"),
    ],
)
def test_priors_are_checked_before_anybody_is_asked(priors: Any, message: str) -> None:
    models = reading(*SHARES)
    asked: Any = {**THREE, "priors": priors}
    with pytest.raises(InputError, match=message):
        build_distributional(fake_pool(NAMES), models=models).compile().invoke(asked)
    assert models["north"].seen == []


# Tools


def test_a_tool_has_the_stages_of_its_mode() -> None:
    tool = pluralism_tool(**settings(), merge=lambda heard: "Merged.", communities=["north", "east"])
    called = tool.invoke({"type": "tool_call", "id": "1", "name": tool.name, "args": {"question": "Is it so?"}})
    assert called.content == "Merged."
    assert set(called.artifact["comments"]) == {"north", "east"}
    shares = pluralism_tool(
        fake_pool(NAMES), mode="distributional", models=reading(*SHARES), scoring="label", pooling="median"
    )
    assert "Yes: 55.6%" in shares.invoke({"question": "Is it so?", "options": ["Yes", "No", "Both"]})
    with pytest.raises(InputError, match="Overton mode has no argument 'pooling'"):
        pluralism_tool(**settings(), pooling="median")
    with pytest.raises(InputError, match="has no argument 'into'"):
        pluralism_tool(**settings(), into="spectrum")


# Cache and interrupts


def test_a_cache_tells_one_stage_from_another() -> None:
    cache = NodeCache()
    asked: list[Any] = []

    class Editor:
        def merge(self, heard: Heard) -> str:
            asked.append(self)
            return "Edited."

    def merge(heard: Heard) -> str:
        asked.append(merge)
        return "Merged."

    given, editor, other = settings(), Editor(), Editor()
    for stage in (merge, merge, editor.merge, editor.merge, other.merge):
        build_overton(**given, merge=stage).compile(cache=cache).invoke(ASKED)
    assert asked == [merge, editor, other]

    checks: list[str] = []

    def check(heard: HeardComment) -> None:
        checks.append(heard["comment"]["community"])

    for _ in range(2):
        build_overton(**given, after_comments=[check]).compile(cache=cache).invoke(ASKED)
    assert sorted(checks) == sorted(NAMES)
    assert len(given["models"]["north"].seen) == 2, "once for the node, once for the branch"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("build", "asked", "stage", "reply", "key", "found"),
    [
        (build_overton, ASKED, "merge", "By hand.", "answer", "By hand."),
        (build_steerable, STEERED, "respond", "By hand.", "answer", "By hand."),
        (build_distributional, CHOICE, "pooling", [0.25, 0.75], "distribution", [0.25, 0.75]),
    ],
)
def test_a_stage_asks_a_person_and_the_run_goes_on(
    build: Any, asked: Any, stage: str, reply: Any, key: str, found: Any, asynchronous: bool
) -> None:
    def waits(*given: Any) -> Any:
        return interrupt("What do you say?")

    one: Any = waits if stage == "pooling" else (lambda given: waits(given))
    graph = build(**settings(), scoring="label", **{stage: one}) if build is not build_overton else None
    compiled = (graph or build_overton(**settings(), merge=one)).compile(checkpointer=InMemorySaver())

    def go(given: Any) -> dict[str, Any]:
        return dict(asyncio.run(compiled.ainvoke(given, CONFIG)) if asynchronous else compiled.invoke(given, CONFIG))

    assert [each.value for each in go(asked)["__interrupt__"]] == ["What do you say?"]
    assert go(Command(resume=reply))[key] == found


def test_a_stage_after_a_comment_asks_a_person() -> None:
    def review(heard: HeardComment) -> str | None:
        return interrupt("Fit?") if heard["comment"]["community"] == "east" else None

    given = settings()
    graph = build_overton(**given, after_comments=[review]).compile(checkpointer=InMemorySaver())
    assert "__interrupt__" in graph.invoke(ASKED, CONFIG)
    result = graph.invoke(Command(resume="Fit for print."), CONFIG)
    assert result["comments"]["east"]["text"] == "Fit for print."
    assert len(given["models"]["east"].seen) == 1
