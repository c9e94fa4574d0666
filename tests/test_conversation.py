"""Conversations: the last message is the question, the models are told those before it, and the answer is added."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from modular_pluralism import (
    Community,
    Heard,
    InputError,
    NodeCache,
    Pool,
    Turn,
    build_conversation,
    build_overton,
    open_store,
)
from tests.fake_models import FakeChat, choosing, fake_models, fake_pool

NAMES = ("north", "south")
THREAD: RunnableConfig = {"configurable": {"thread_id": "1"}}


def models(**more: Any) -> Any:
    base = more.pop("base", None) or FakeChat(say=lambda seen: "All of them.")
    return fake_models(base, NAMES, **more)


def roles(seen: Any) -> list[str]:
    return re.findall(r"^\[(\w+)\]$", seen.prompt, re.MULTILINE)


def test_what_was_said_before_is_told_with_its_roles() -> None:
    asked = models()
    graph = build_conversation(fake_pool(NAMES), models=asked).compile()
    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    before = [
        SystemMessage("Be short."),
        HumanMessage("Cars?"),
        call,
        ToolMessage("3", tool_call_id="1"),
        AIMessage("No."),
    ]
    state = graph.invoke({"messages": [*before, HumanMessage("And buses?")]})
    assert [message.type for message in state["messages"]] == ["system", "human", "ai", "tool", "ai", "human", "ai"]
    assert state["messages"][-1].text == state["answer"] == "All of them."
    assert "question" not in state
    for name in ("boss", *NAMES):
        (seen,) = asked[name].seen
        assert roles(seen) == ["system", "human", "ai", "human"]
        system, question, answer, now = re.split(r"^\[\w+\]$", seen.prompt, flags=re.MULTILINE)[1:]
        assert [question.strip(), answer.strip()] == ["Cars?", "No."]
        assert "Be short." in system
        assert "And buses?" in now


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_thread_goes_on(is_async: bool) -> None:
    asked = models()
    graph = build_conversation(fake_pool(NAMES), models=asked, seed=1).compile(checkpointer=InMemorySaver())
    for question in ("Cars?", "And buses?"):
        given: Any = {"messages": [("user", question)]}
        state = await graph.ainvoke(given, THREAD) if is_async else graph.invoke(given, THREAD)
    assert [message.text for message in state["messages"]] == ["Cars?", "All of them.", "And buses?", "All of them."]
    assert roles(asked["north"].seen[-1])[-3:] == ["human", "ai", "human"]


async def test_a_thread_goes_on_from_a_store(tmp_path: Path) -> None:
    asked = models()
    built = build_conversation(fake_pool(NAMES), models=asked, seed=1)
    for question in ("Cars?", "And buses?"):
        async with open_store(tmp_path / "runs.sqlite") as saver:
            graph = built.compile(checkpointer=saver)
            state = await graph.ainvoke({"messages": [("user", question)]}, THREAD, durability="sync")
    assert [message.text for message in state["messages"]] == ["Cars?", "All of them.", "And buses?", "All of them."]
    assert roles(asked["north"].seen[-1])[-3:] == ["human", "ai", "human"]


def test_is_a_node_of_a_graph_with_messages() -> None:
    parent = StateGraph(MessagesState)
    parent.add_node("talk", build_conversation(fake_pool(NAMES), models=models()).compile())
    parent.add_edge(START, "talk")
    parent.add_edge("talk", END)
    state = parent.compile().invoke({"messages": [HumanMessage("Cars?")]})
    assert [message.text for message in state["messages"]] == ["Cars?", "All of them."]


@pytest.mark.parametrize("mode", ["steerable", "distributional"])
def test_in_every_mode(mode: str) -> None:
    base = choosing(lambda seen: {"A": 0.6, "B": 0.2, "1": 0.2})
    asked = models(base=base)
    graph = build_conversation(fake_pool(NAMES), mode=mode, scoring="label", models=asked).compile()
    beside: dict[str, Any] = {"attribute": "the north", "options": ["Yes", "No"]}
    state = graph.invoke({"messages": [("user", "Cars?"), ("assistant", "No."), ("user", "And buses?")], **beside})
    expected = "Yes" if mode == "steerable" else "Yes: 75.0%\nNo: 25.0%"
    assert state["messages"][-1].text == expected
    assert all(roles(seen)[-3:] == ["human", "ai", "human"] for seen in base.seen)


def test_nobody_s_question_is_refused() -> None:
    graph = build_conversation(fake_pool(NAMES), models=models()).compile()
    with pytest.raises(InputError, match="ends with a message of the type 'ai'; add what is asked next"):
        graph.invoke({"messages": [("user", "Cars?"), ("assistant", "No.")]})
    with pytest.raises(InputError, match="The conversation is empty"):
        graph.invoke({"messages": []})
    with pytest.raises(InputError, match="The question is empty"):
        graph.invoke({"messages": [("user", " ")]})


def test_stages_and_communities_of_one_s_own_are_told_the_history() -> None:
    told: list[Any] = []
    history: list[Turn] = [{"role": "user", "content": "Cars?"}, {"role": "assistant", "content": "No."}]

    def merged(heard: Heard) -> str:
        told.append(heard["history"])
        return "Merged."

    def farmers(asked: dict[str, Any]) -> str:
        told.append(asked["history"])
        return "Ours."

    pool = Pool.of(FakeChat(say=lambda seen: "x"), {"farmers": Community(model=farmers, description="farmers")})
    cache = NodeCache()
    graph = build_overton(pool, merge=merged).compile(cache=cache)
    for before in (history, history, history[:1]):  # the second time from the cache, the third time not
        graph.invoke({"question": "And buses?", "history": before})
    assert told == [history, history, history[:1], history[:1]]


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ("Cars?", "The history is str; give a list such as"),
        ([{"role": "tool", "content": "3"}], "Turn 1 of the history is none"),
        ([{"role": "user", "content": " "}], "Turn 1 of the history is empty"),
    ],
)
def test_a_history_that_is_none_is_refused(history: Any, message: str) -> None:
    graph = build_overton(fake_pool(NAMES), models=models()).compile()
    with pytest.raises(InputError, match=message):
        graph.invoke({"question": "And buses?", "history": history})


def test_nothing_is_left_of_the_message_before() -> None:
    asked = models(base=choosing(lambda seen: {"A": 0.6, "B": 0.2, "1": 0.2}, text="Well."))
    graph = build_conversation(fake_pool(NAMES), mode="steerable", scoring="label", models=asked)
    talk = graph.compile(checkpointer=InMemorySaver())
    first: Any = {"messages": [("user", "Cars?")], "attribute": "the north", "options": ["Yes", "No"]}
    assert talk.invoke(first, THREAD)["choice"] == "Yes"
    state = talk.invoke({"messages": [("user", "Why?")], "options": None}, THREAD)
    assert state["messages"][-1].text == state["answer"] == "Well."
    assert state["choice"] is state["distribution"] is None


def test_an_argument_that_the_mode_has_not_is_refused() -> None:
    for wrong in ("into", "pooling"):
        more: dict[str, Any] = {wrong: "median"}
        with pytest.raises(InputError, match=f"Overton mode has no argument '{wrong}'"):
            build_conversation(fake_pool(NAMES), models=models(), **more)


def test_what_is_no_text_is_refused_instead_of_dropped() -> None:
    image: Any = [{"type": "text", "text": "Is this fair?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "1"}])
    talk = build_conversation(fake_pool(NAMES), models=models()).compile()
    for messages in (
        [HumanMessage(image)],
        [HumanMessage(image[1:]), AIMessage("No."), HumanMessage("Why?")],
        [HumanMessage("Well?"), call, ToolMessage(image, tool_call_id="1")],
    ):
        with pytest.raises(InputError, match="holds 'image_url', and only texts are told to the models; leave it out"):
            talk.invoke({"messages": messages})
    assert talk.invoke({"messages": [HumanMessage(image[:1])]})["answer"]
