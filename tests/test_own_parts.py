"""Parts that an application brings are asked as models are: with retries, a deadline, and a place in the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException
from langgraph.types import interrupt

from modular_pluralism import (
    HeardComment,
    ModelCallError,
    Pool,
    PoolError,
    QuorumError,
    build_overton,
    estimate,
    pluralism_tool,
)
from modular_pluralism.graphs.node_key import NodeKey
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.redaction import keep_secret
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.step import Body, State, StepNode, Steps, step_maker


class Echo(BaseChatModel):
    """Answers with one message, whatever it is asked."""

    message: AIMessage

    def _generate(self, *arguments: Any, **more: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.message)])

    @property
    def _llm_type(self) -> str:
        return "echo"


@step_maker()
def shout(part: OwnPart) -> Body:
    def step(state: State) -> Steps:
        outcome = yield ask.own(part, {"question": state["question"]})
        return {"answer": str(ask.as_message(outcome.value, part.place).text), "tries": outcome.attempts}

    return step


def _node(answers: Any) -> Any:
    return StepNode(shout(OwnPart("mine", RunnableLambda(answers))), Caller(), "shout")


def test_is_asked_with_a_mapping_and_tried_again() -> None:
    tries: list[Mapping[str, Any]] = []

    def flaky(given: Mapping[str, Any]) -> AIMessage:
        tries.append(given)
        if len(tries) == 1:
            raise ConnectionError("gone for a moment")
        return AIMessage(given["question"].upper())

    assert _node(flaky).invoke({"question": "why?"}) == {"answer": "WHY?", "tries": 2}
    assert tries == [{"question": "why?"}] * 2


def test_works_in_asyncio_too() -> None:
    async def slow(given: Mapping[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"messages": [AIMessage("first"), AIMessage(given["question"])]}

    assert asyncio.run(_node(slow).ainvoke({"question": "why?"}))["answer"] == "why?"


def test_what_is_no_text_is_a_mistake_of_the_application() -> None:
    with pytest.raises(TypeError, match="mine returned int; return a text"):
        _node(lambda _: 3).invoke({"question": "why?"})


def test_has_a_cache_key_of_its_own() -> None:
    from langgraph.graph import StateGraph

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(dict)

    def key(part: OwnPart, question: str = "why?") -> str:
        return NodeKey(shout(part), [], graph, "shout")({"question": question})

    one, other = (OwnPart("mine", RunnableLambda(lambda given: given["question"])) for _ in range(2))
    assert key(one) == key(one)
    assert len({key(one), key(other), key(one, "how?")}) == 3


def test_a_reason_is_told_without_keys_whoever_gives_it() -> None:
    keep_secret("sk-canary-of-a-stage")

    def refuses(heard: HeardComment) -> str:
        try:
            return dict[str, str]()["no verdict"]
        except KeyError as error:
            raise ModelCallError("no verdict with sk-canary-of-a-stage") from error

    mine = FakeListChatModel(responses=["Mine."])
    graph = build_overton(Pool.of(mine, {"farmers": mine}), after_comments=[refuses]).compile()
    with pytest.raises(QuorumError, match="farmers: no verdict with") as caught:
        graph.invoke({"question": "why?"})
    assert "canary" not in str(caught.value)


def test_what_a_function_costs_can_be_estimated() -> None:
    mine = FakeListChatModel(responses=["Mine."])
    cost = estimate("why?", Pool.of(mine, {"farmers": lambda asked: "Ours.", "town": mine}))
    assert cost["total"]["calls"] == 3


def test_a_pool_of_a_list_is_told() -> None:
    wrong: Any = ["farmers"]
    with pytest.raises(PoolError, match="communities is a list; give a dict by name"):
        Pool.of(FakeListChatModel(responses=["Mine."]), wrong)


def test_a_tool_that_is_interrupted_says_so() -> None:
    mine = FakeListChatModel(responses=["Mine."])
    pool = Pool.of(mine, {"farmers": lambda asked: str(interrupt("Well?")), "town": mine})
    with pytest.raises(ToolException, match="waits for a person's answer; give the agent a checkpointer"):
        pluralism_tool(pool).invoke({"question": "why?"})


def test_a_stream_that_broke_off_behind_an_agent_is_no_answer() -> None:
    half = AIMessage("Half", response_metadata={"model_provider": "openai"})
    pool = Pool.of(FakeListChatModel(responses=["Mine."]), {"farmers": Echo(message=half).with_fallbacks([])})
    with pytest.raises(QuorumError, match=r"farmers: .*the reply broke off before its end"):
        build_overton(pool.with_run(attempts=1)).compile().invoke({"question": "why?"})


def test_what_a_comment_has_cost_stays_and_what_is_lost_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def edits(heard: HeardComment) -> dict[str, Any]:
        return {**heard["comment"], "text": "Better.", "prompt_tokens": "NaN", "finish_reason": 3}

    pool = Pool.of(FakeListChatModel(responses=["Mine."]), {"farmers": lambda asked: "Ours."})
    state = build_overton(pool, after_comments=[edits]).compile().invoke({"question": "why?"})
    comment = state["comments"]["farmers"]
    assert (comment["text"], comment["prompt_tokens"], comment["finish_reason"]) == ("Better.", 0, "stop")
    known: Any = {"farmers": {**comment, "error": "It is closed on Sundays."}}
    with pytest.raises(QuorumError):
        build_overton(pool, comments=known).compile().invoke({"question": "why?"})
    assert "farmers is missing: It is closed on Sundays." in caplog.text
