"""Pools that are made in Python: of chat models, agents, chains and functions."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, interrupt
from pydantic import Field, SecretStr
from starlette.testclient import TestClient

from modular_pluralism import (
    Community,
    EmbeddedModel,
    NodeCache,
    Pool,
    PoolError,
    PoolModels,
    PromptSet,
    RunSettings,
    build_distributional,
    build_overton,
    build_steerable,
)
from modular_pluralism.evaluation.run.facts import given_models, model_files
from modular_pluralism.models.remote_chat import RemoteChat
from modular_pluralism.models.remote_terms import forget_terms
from modular_pluralism.pool_files import add_community
from modular_pluralism.pool_files.moved_pool import moved_pool, write_moved_pool
from modular_pluralism.serving.app import make_app
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.keys import Keys
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.request_log import RequestLog
from tests.fake_models import FakeChat, Seen, always, scripted

QUESTION: Any = {"question": "Should wages be public?"}
ONCE = RunSettings(attempts=1)


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(PoolError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def asked(**more: Any) -> Any:
    """The question with more parts."""
    return {**QUESTION, **more}


def pool_of(communities: dict[str, Any], base: Any = None, **more: Any) -> Pool:
    return Pool.of(base or always("All of it."), communities, run=ONCE, **more)


def comments(pool: Pool, **question: Any) -> dict[str, str]:
    state = build_overton(pool).compile().invoke(asked(**question))
    assert state["missing"] == [], state["comments"]
    return {name: comment["text"] for name, comment in state["comments"].items()}


class FakeAgent(FakeChat):
    """Calls a tool, then answers."""

    def answer(self, messages: Any, settings: dict[str, Any]) -> AIMessage:
        return calls_then_answers(messages)


class Stopping(FakeChat):
    """Says why it has stopped as `said`."""

    said: dict[str, Any] = Field(default_factory=lambda: {"stop_reason": "max_tokens"})

    def info(self, seen: Seen) -> dict[str, Any]:
        return self.said


class Provider(Stopping):
    """A class with a field for each setting of a call, and none for a seed."""

    max_tokens: int | None = None
    temperature: float | None = None

    def answer(self, messages: Any, settings: dict[str, Any]) -> AIMessage:
        return super().answer(messages, {**settings, "max_tokens": self.max_tokens})


@contextmanager
def served(pool: Pool) -> Iterator[TestClient]:
    """The server over a pool, in this process."""
    limits = Limits()
    catalogue = Catalogue(pool, PromptSet.load(), "label", limits)
    app = make_app(catalogue, keys=Keys(), limits=limits, gate=Gate(limits), log=RequestLog(out=io.StringIO()))
    with TestClient(app, base_url="http://localhost") as client:
        yield client


class AgentState(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def agent(model: Runnable[Any, Any], look_up: Callable[[], str] = lambda: "the law of 1990") -> Any:
    """A hand-written agent: it calls a tool, which may interrupt, and answers once it knows."""

    def think(state: AgentState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    async def athink(state: AgentState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    def tool(state: AgentState) -> dict[str, Any]:
        last = state["messages"][-1]
        assert isinstance(last, AIMessage)
        return {"messages": [ToolMessage(look_up(), tool_call_id=last.tool_calls[0]["id"])]}

    def leads_to(state: AgentState) -> str:
        last = state["messages"][-1]
        return "tool" if isinstance(last, AIMessage) and last.tool_calls else END

    graph = StateGraph(AgentState)
    graph.add_node("think", RunnableLambda(think, athink))
    graph.add_node("tool", tool)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", leads_to, ["tool", END])
    graph.add_edge("tool", "think")
    return graph.compile()


def calls_then_answers(messages: list[BaseMessage]) -> AIMessage:
    if isinstance(messages[-1], ToolMessage):
        return AIMessage(f"We keep to {messages[-1].text}.")
    return AIMessage("", tool_calls=[{"name": "look_up", "args": {}, "id": "1"}])


# Chat models


def test_a_pool_of_chat_models() -> None:
    base, own = always("All of it."), always("Mine.")
    pool = pool_of(
        {"left": Community(model=own, prior=3), "right": Community(description="the right"), "third": own}, base
    )
    assert {name: community.model for name, community in pool.communities.items()} == {
        "left": "left",
        "right": "base",
        "third": "left",
    }
    assert list(pool.models) == ["base", "left"], "what is shared is one model"
    assert pool.communities["left"].description == "left"
    assert pool.priors["left"] == pytest.approx(3 / 5)
    state = build_overton(pool).compile().invoke(QUESTION)
    assert state["answer"] == "All of it."
    assert state["comments"]["left"]["text"] == "Mine."


def test_tables_and_names_are_taken_as_models(tmp_path: Any) -> None:
    small = EmbeddedModel(gguf="small.gguf")
    pool = Pool.of(
        small,
        {"left": Community(model=small, description="the left"), "base": Community(model=always("x"))},
        priors={"age": {"left": 1.0}},
        name="mine",
        folder=tmp_path,
    )
    assert pool.models["base"] == small
    assert pool.communities["left"].model == "base"
    assert pool.communities["base"].model == "base-2"
    assert (pool.name, pool.folder, pool.priors_of("age")) == ("mine", tmp_path, {"left": 1.0, "base": 0.0})
    assert Pool.of(small, {"left": Community(model="base", description="d")}).communities["left"].model == "base"


def test_models_of_the_builders_take_the_place_of_the_pools_own() -> None:
    pool = pool_of({"left": always("Mine.")})
    state = build_overton(pool, models={"left": always("Another.")}).compile().invoke(QUESTION)
    assert state["comments"]["left"]["text"] == "Another."


def test_a_chat_model_with_fall_backs_comments_and_votes_by_its_replies() -> None:
    broken, other = always(ValueError("gone")), always("B")
    pool = pool_of({"left": broken.with_fallbacks([other])}, always("A"))
    assert comments(pool) == {"left": "B"}
    assert isinstance(other, FakeChat)
    assert other.seen[0].settings["max_tokens"] == pool.run.comment_tokens
    graph = build_distributional(pool, voice="vote", scoring="label").compile()
    said = graph.invoke(asked(options=["Yes", "No"]))
    assert said["distribution"] == [0.0, 1.0]
    assert said["distributions"]["left"]["samples"] == pool.run.score_samples


def test_a_bound_model_keeps_what_is_bound() -> None:
    chat = always("Mine.")
    assert comments(pool_of({"left": chat.bind(stop=["x"])})) == {"left": "Mine."}


# Agents


def test_an_agent_with_a_tool_comments_and_reads_its_persona() -> None:
    read: list[list[BaseMessage]] = []

    def think(messages: list[BaseMessage]) -> AIMessage:
        read.append(messages)
        return calls_then_answers(messages)

    pool = pool_of({"left": Community(model=agent(RunnableLambda(think)), persona="asia.md")})
    assert comments(pool) == {"left": "We keep to the law of 1990."}
    assert isinstance(read[0][0], SystemMessage)
    assert QUESTION["question"] in read[0][-1].text
    assert len(read) == 2


async def test_an_agent_answers_asynchronously_and_streams_nothing_else() -> None:
    pool = pool_of({"left": agent(RunnableLambda(calls_then_answers))})
    state = await build_overton(pool).compile().ainvoke(QUESTION)
    assert state["comments"]["left"]["text"] == "We keep to the law of 1990."


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_agents_tool_may_interrupt_the_run_and_goes_on(asynchronous: bool) -> None:
    thoughts = []

    def think(messages: list[BaseMessage]) -> AIMessage:
        thoughts.append(len(messages))
        return calls_then_answers(messages)

    pool = pool_of(
        {"left": agent(RunnableLambda(think), lambda: str(interrupt("Which law?"))), "right": always("Right.")}
    )
    graph = build_overton(pool).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}

    async def run(given: Any) -> Any:
        return await graph.ainvoke(given, config) if asynchronous else graph.invoke(given, config)

    stopped = await run(QUESTION)
    assert [each.value for each in stopped["__interrupt__"]] == ["Which law?"]
    state = await run(Command(resume="custom"))
    assert state["comments"]["left"]["text"] == "We keep to custom."
    assert state["answer"] == "All of it."
    assert thoughts == [1, 3], "the agent goes on where it stopped"


def test_an_agent_votes_by_its_replies_and_may_be_the_base() -> None:
    names_one = agent(RunnableLambda(lambda messages: AIMessage("A")))
    pool = pool_of({"left": names_one}, names_one).model_copy(update={"run": RunSettings(attempts=1, score_samples=2)})
    state = (
        build_distributional(pool, voice="comment,vote", scoring="label").compile().invoke(asked(options=["Yes", "No"]))
    )
    assert state["distribution"] == [1.0, 0.0]
    assert state["votes"]["left"]["samples"] == 2


# Chains and functions


def test_a_function_is_asked_with_the_question_and_all_that_belongs_to_it() -> None:
    seen_by_it: list[dict[str, Any]] = []

    def answers(given: dict[str, Any]) -> str:
        seen_by_it.append(given)
        return "Mine."

    def says(seen: Seen) -> str:
        return "A" if "A. Yes" in seen.prompt else "1"

    pool = pool_of({"left": Community(model=answers, persona="asia.md"), "right": always("Right.")}, FakeChat(say=says))
    question = asked(attribute="privacy", options=["Yes", "No"], seed=3)
    state = build_steerable(pool, scoring="label").compile().invoke(question)
    assert state["comments"]["left"]["text"] == "Mine."
    given = seen_by_it[0]
    assert set(given) == {"question", "options", "history", "attribute", "persona", "seed", "messages"}
    assert (given["question"], given["options"], given["attribute"]) == (QUESTION["question"], ["Yes", "No"], "privacy")
    assert given["persona"] == pool.persona_text("left")
    assert isinstance(given["messages"][0], SystemMessage)
    comments(pool)
    assert "attribute" not in seen_by_it[-1]
    assert seen_by_it[-1]["options"] == []


def test_a_chain_that_takes_a_text_is_joined_by_what_it_takes() -> None:
    chain = itemgetter("question") | RunnableLambda(str.upper)
    assert comments(pool_of({"left": chain})) == {"left": "SHOULD WAGES BE PUBLIC?"}


async def test_an_asynchronous_function_answers() -> None:
    async def answers(given: dict[str, Any]) -> BaseMessage:
        return AIMessage("Mine.", usage_metadata={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5})

    state = await build_overton(pool_of({"left": answers})).compile().ainvoke(QUESTION)
    assert state["comments"]["left"]["text"] == "Mine."
    assert state["comments"]["left"]["completion_tokens"] == 2


def test_a_chain_that_begins_with_a_chat_model_is_asked_with_messages() -> None:
    chain = always("mine.") | RunnableLambda(lambda message: message.text.title())
    assert comments(pool_of({"left": chain})) == {"left": "Mine."}


def test_a_failing_function_is_a_missing_community_and_a_wrong_one_an_error() -> None:
    def fails(given: dict[str, Any]) -> str:
        raise ConnectionError("no network")

    state = build_overton(pool_of({"left": fails, "a": always("A"), "b": always("B")})).compile().invoke(QUESTION)
    assert state["missing"] == ["left"]
    assert "no network" in state["comments"]["left"]["error"]
    with pytest.raises(TypeError, match="community 'left' returned int; return a text"):
        build_overton(pool_of({"left": lambda given: 3})).compile().invoke(QUESTION)


def test_a_function_cannot_vote_nor_be_the_base_nor_take_an_adapter() -> None:
    pool = pool_of({"left": lambda given: "Mine."})
    voice: Any
    for voice in ("vote", "comment,vote"):
        told = refusal(lambda: build_distributional(pool, voice=voice))  # noqa: B023
        assert "[communities.left]" in told
        assert "can only comment" in told
    assert "base must be a chat model" in refusal(lambda: pool_of({"left": always("x")}, lambda given: "x"))
    adapted = Community(model=always("x"), lora="x.gguf")
    assert "lora cannot be added to what answers as 'left'" in refusal(lambda: pool_of({"left": adapted}))
    with pytest.raises(PoolError, match=r"can only comment; ask it in a mode"):
        PoolModels(pool).community("left")
    PoolModels(pool).check()


def test_what_does_not_answer_is_refused() -> None:
    assert "[communities.left] must be" in refusal(lambda: pool_of({"left": 5}))
    assert "[communities.left] must be" in refusal(lambda: pool_of({"left": dict}))
    assert refusal(lambda: Pool.of(5, {"left": always("x")})).startswith("base must be")  # type: ignore[arg-type]
    assert "there is no description" in refusal(lambda: pool_of({"left": Community()}))


# What holds of such a pool elsewhere


def test_a_pool_dumps_class_names_and_is_not_read_again_nor_handed_on() -> None:
    pool = pool_of({"left": lambda given: "Mine."})
    tables = pool.model_dump(mode="json", exclude={"folder"})
    assert tables["models"]["base"] == {"given": "tests.fake_models.FakeChat"}
    assert tables["models"]["left"] == {"given": "langchain_core.runnables.base.RunnableLambda"}
    assert "say" not in repr(pool.models["base"])
    with pytest.raises(PoolError, match="cannot be handed to another one"):
        pickle.dumps(pool)
    assert copy.deepcopy(pool).models["base"].given is pool.models["base"].given  # type: ignore[union-attr]
    with pytest.raises(PoolError, match=r"make the pool with Pool\.of"):
        Pool.from_toml(
            'base = "b"\n[models.b]\ngiven = "x"\n[communities.a]\nmodel = "b"\ndescription = "d"\n',
            source="my.toml",
            folder=pool.folder,
        )


def test_a_cache_knows_a_brought_part_by_its_object() -> None:
    asked: list[int] = []

    def answers(given: dict[str, Any]) -> str:
        asked.append(1)
        return "Mine."

    chat = FakeChat(say=scripted("One.", "Two."))
    pool, cache = pool_of({"left": answers, "right": chat.with_fallbacks([always("x")])}), NodeCache()
    for _ in range(2):
        state = build_overton(pool).compile(cache=cache).invoke(QUESTION)
        assert state["comments"]["right"]["text"] == "One."
    assert len(asked) == 1


def test_a_server_offers_what_can_chat_and_its_modes_ask_the_rest() -> None:
    pool = pool_of({"left": lambda given: "Mine.", "right": always("Right.")})
    catalogue = Catalogue(pool, PromptSet.load(), "label", Limits())
    assert [model for model in catalogue.ids if not model.startswith("pluralism/")] == ["base", "community/right"]
    assert catalogue.load() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "search"}}]),
        ("stop", ["."]),
        ("max_tokens", 8),
        ("max_completion_tokens", 8),
        ("temperature", 0.1),
        ("top_p", 0.5),
        ("seed", 1),
        ("logprobs", True),
        ("reasoning_effort", "low"),
        ("response_format", {"type": "json_object"}),
    ],
)
def test_what_a_served_agent_is_never_given_is_refused(field: str, value: Any) -> None:
    pool = pool_of({"left": agent(FakeAgent(say=lambda seen: "x"))})
    with served(pool) as client:
        asked = {"model": "community/left", "messages": [{"role": "user", "content": "Why?"}]}
        refused = client.post("/v1/chat/completions", json={**asked, field: value})
        answered = client.post("/v1/chat/completions", json={**asked, "stream": False, "tool_choice": "none"})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == field
    assert f"{field} is not supported by model 'left'" in refused.json()["error"]["message"]
    assert answered.json()["choices"][0]["message"]["content"] == "We keep to the law of 1990."
    assert "seed" not in answered.json()["pluralism"]


def test_a_pool_elsewhere_goes_on_without_what_a_served_agent_refuses() -> None:
    with served(pool_of({"left": agent(FakeAgent(say=lambda seen: "x"))})) as client:
        far = RemoteChat(
            place="model 'far'",
            base_url="http://localhost/v1",
            api_key=SecretStr("none"),
            model="community/left",
            temperature=0.5,
            max_retries=0,
            http_client=client,
        )
        assert far.invoke("Why?", seed=1, max_tokens=8).text == "We keep to the law of 1990."
    forget_terms()


def test_a_served_chain_refuses_tools() -> None:
    pool = pool_of({"left": always("Mine.") | StrOutputParser()})
    asked = {"model": "community/left", "messages": [{"role": "user", "content": "Why?"}]}
    with served(pool) as client:
        tools = [{"type": "function", "function": {"name": "search"}}]
        refused = client.post("/v1/chat/completions", json={**asked, "tools": tools})
    assert refused.json()["error"]["param"] == "tools"
    assert "model 'left' takes no tools; leave them out" in refused.json()["error"]["message"]


# A provider's class, given in Python


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"stop_reason": "max_tokens"}, "length"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({"finish_reason": "SAFETY"}, "content_filter"),
        ({}, "stop"),
    ],
)
def test_a_providers_own_reasons_and_settings_are_known(said: dict[str, Any], reason: str, wrapped: bool) -> None:
    chat = Provider(say=lambda seen: "Mine.", said=said)
    given: Any = chat.bind(stop=["x"]).with_fallbacks([chat]) if wrapped else chat
    pool = pool_of({"left": given})
    state = build_overton(pool).compile().invoke(asked(seed=7))
    assert state["comments"]["left"]["finish_reason"] == reason
    (seen,) = chat.seen
    assert "seed" not in seen.settings, "its class has none"
    assert seen.settings["max_tokens"] == pool.run.comment_tokens


def test_a_chat_model_that_says_otherwise_why_it_has_stopped_needs_no_settings() -> None:
    chat = Stopping(say=lambda seen: "Mine.")
    state = build_overton(pool_of({"left": chat})).compile().invoke(asked(seed=7))
    assert state["comments"]["left"]["finish_reason"] == "length"
    assert "seed" in chat.seen[0].settings, "it takes what it is called with"


def test_a_served_provider_says_what_its_class_has_not() -> None:
    pool = pool_of({"left": Provider(say=lambda seen: "Mine.")})
    request = {"model": "community/left", "messages": [{"role": "user", "content": "Why?"}]}
    with served(pool) as client:
        refused = client.post("/v1/chat/completions", json={**request, "seed": 1})
        whole = client.post("/v1/chat/completions", json={**request, "max_tokens": 5})
        streamed = client.post("/v1/chat/completions", json={**request, "stream": True})
    assert refused.json()["error"]["param"] == "seed"
    assert whole.json()["choices"][0]["finish_reason"] == "length"
    assert "Mine." in streamed.text


def test_a_persona_of_several_words_is_added_to_a_pool_file(tmp_path: Any) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('base = "m"\n[models.m]\ngguf = "m.gguf"\n[communities.a]\nmodel = "m"\ndescription = "d"\n')
    persona = 'You speak for "farmers".\nYou are brief.'
    add_community(file, "farmers", {"model": "m", "description": "farmers", "persona": persona})
    assert Pool.load(file).persona_text("farmers") == persona
    target = tmp_path / "moved" / "mine.toml"
    target.parent.mkdir()
    moved = moved_pool(Pool.load(file), file, target)
    write_moved_pool(Pool.load(file), moved)
    assert Pool.load(target).persona_text("farmers") == persona


def test_a_bench_knows_what_a_pool_brings() -> None:
    pool = pool_of({"left": lambda given: "Mine.", "right": always("x").with_fallbacks([always("y")])})
    models = PoolModels(pool)
    assert model_files(pool, models) == []
    known = given_models(models.given)
    assert known["base"] == ["tests.fake_models", "FakeChat", None]
    assert known["left"][1] == "RunnableLambda"
    assert known["right"][1] == "RunnableWithFallbacks"
