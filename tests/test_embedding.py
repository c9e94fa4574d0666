"""The graphs within somebody else's application: as subgraphs, as runnables in a chain, and as tools of an agent."""

from __future__ import annotations

import asyncio
import threading
import time
from operator import itemgetter
from typing import Any, TypedDict

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import PrivateAttr

from modular_pluralism import Pool, build_distributional, build_overton, pluralism_tool
from modular_pluralism.errors import InputError, PluralismError, QuorumError
from modular_pluralism.llama import shared_engines
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.settings import EngineSettings
from tests.fake_models import NAMES, FakeChat, Seen, always, choosing, fake_models, fake_pool, label_of

OPTIONS = ["Yes", "No"]


def prefers(seen: Seen) -> dict[str, float]:
    return {label_of("No", seen.prompt): 0.75, label_of("Yes", seen.prompt): 0.25} if "A. " in seen.prompt else {"2": 1}


def boss() -> BaseChatModel:
    return choosing(prefers, "All views.")


# Subgraphs


class Conversation(TypedDict, total=False):
    question: str
    answer: str
    comments: dict[str, Any]


class Report(TypedDict, total=False):
    topic: str
    text: str


def test_a_subgraph_shares_the_parents_keys() -> None:
    parent = StateGraph(Conversation)
    parent.add_node("pluralism", build_overton(fake_pool(), models=fake_models(boss())).compile())
    parent.add_edge(START, "pluralism")
    parent.add_edge("pluralism", END)
    graph = parent.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    result = graph.invoke({"question": "Should everybody vote?"}, config)
    assert result["answer"] == "All views."
    assert set(result["comments"]) == set(NAMES)
    assert graph.get_state(config).values == result
    assert set(graph.get_graph(xray=True).nodes) >= {f"pluralism:{name}" for name in NAMES}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_node_that_calls_a_graph_keeps_the_states_apart(asynchronous: bool) -> None:
    graph = build_overton(fake_pool(), models=fake_models(boss())).compile()

    def write(state: Report, config: RunnableConfig) -> Report:
        return {"text": graph.invoke({"question": f"What about {state['topic']}?"}, config)["answer"]}

    async def awrite(state: Report, config: RunnableConfig) -> Report:
        return {"text": (await graph.ainvoke({"question": f"What about {state['topic']}?"}, config))["answer"]}

    parent = StateGraph(Report)
    parent.add_node("write", awrite if asynchronous else write)
    parent.add_edge(START, "write")
    parent.add_edge("write", END)
    compiled = parent.compile(checkpointer=InMemorySaver())
    asked, config = Report(topic="schools"), RunnableConfig(configurable={"thread_id": "1"})

    async def astreamed() -> list[Any]:
        return [each async for each in compiled.astream(asked, config, stream_mode="messages", subgraphs=True)]

    def streamed() -> list[Any]:
        return list(compiled.stream(asked, config, stream_mode="messages", subgraphs=True))

    events = asyncio.run(astreamed()) if asynchronous else streamed()
    assert {metadata["community"] for _, (_, metadata) in events if "community" in metadata} == set(NAMES)
    assert compiled.get_state(config).values == {"topic": "schools", "text": "All views."}


# Runnables


def chain(**others: Any) -> Runnable[dict[str, str], str]:
    graph = build_overton(fake_pool(), models=fake_models(boss(), **others)).compile()
    text = PromptTemplate.from_template("Should {who} vote?") | (lambda prompt: prompt.to_string())
    return {"question": text} | graph | itemgetter("answer")


def test_a_graph_stands_in_a_chain() -> None:
    north = always("N.")
    piped = chain(north=north)
    assert piped.invoke({"who": "everybody"}) == "All views."
    assert "Should everybody vote?" in north.prompts[0]
    assert piped.batch([{"who": "children"}, {"who": "prisoners"}]) == ["All views."] * 2
    assert sorted("children" in prompt for prompt in north.prompts[1:]) == [False, True]


async def test_a_batch_in_asyncio_keeps_to_the_limit() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def slow(seen: Seen) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return "N."

    class Slow(FakeChat):
        # In a thread, so that several can run at once.
        _astream = BaseChatModel._astream

    graph = build_overton(fake_pool(("one",)), models=fake_models(boss(), ("one",), one=Slow(say=slow))).compile()
    asked: list[Any] = [{"question": f"Question {number}?"} for number in range(6)]
    results = await graph.abatch(asked, config={"max_concurrency": 2})
    assert {result["answer"] for result in results} == {"All views."}
    assert most == 2


async def test_a_failing_question_of_a_batch_is_told_apart() -> None:
    graph = build_overton(fake_pool(), models=fake_models(boss())).compile()
    asked: list[Any] = [{"question": "Q?"}, {"question": " "}]
    good, bad = await graph.abatch(asked, return_exceptions=True)
    assert good["answer"] == "All views."
    assert isinstance(bad, InputError)


# Tools


def tool(mode: Any = "overton", **others: Any) -> BaseTool:
    return pluralism_tool(fake_pool(), mode=mode, models=fake_models(boss(), **others))


CALLS: dict[str, Any] = {
    "overton": {"question": "Should everybody vote?"},
    "steerable": {"question": "Should everybody vote?", "attribute": "thrift"},
    "distributional": {"question": "Should everybody vote?", "options": OPTIONS},
}
SAID = {
    "overton": "All views.",
    "steerable": "All views.\nIn the light of what east said (probability 1.00).",
    "distributional": "Yes: 25.0%\nNo: 75.0%\nDisagreement between the communities: 0.000 nats.\n"
    "Probability that the model answered with one of the options at all: 100.0%.",
}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("mode", CALLS)
def test_a_tool_returns_a_text_and_the_whole_state(mode: str, asynchronous: bool) -> None:
    asked = {"type": "tool_call", "id": "1", "name": f"pluralism_{mode}", "args": CALLS[mode]}
    made = tool(mode)
    message = asyncio.run(made.ainvoke(asked)) if asynchronous else made.invoke(asked)
    assert isinstance(message, ToolMessage)
    assert message.content == SAID[mode]
    assert message.status == "success"
    assert set(message.artifact["comments"]) == set(NAMES)
    assert message.artifact["question"] == "Should everybody vote?"


@pytest.mark.parametrize(
    ("mode", "required", "optional"),
    [
        ("overton", ["question"], set()),
        ("steerable", ["question", "attribute"], {"options"}),
        ("distributional", ["question", "options"], {"attribute"}),
    ],
)
def test_a_tools_arguments_are_those_of_its_mode(mode: str, required: list[str], optional: set[str]) -> None:
    made = tool(mode)
    schema: Any = made.tool_call_schema.model_json_schema()  # type: ignore[union-attr]
    assert schema["required"] == required
    assert set(schema["properties"]) == {*required, *optional}
    assert all(each["description"] for each in schema["properties"].values())
    assert made.name == f"pluralism_{mode}"
    assert "People of the north; People of the east" in made.description


def test_a_tool_says_who_is_missing_and_what_failed() -> None:
    assert tool(east=always("")).invoke(CALLS["overton"]) == "All views.\nWithout an answer from east."
    silent = {name: always("") for name in NAMES}
    with pytest.raises(ToolException, match="0 of 6 communities answered, and the quorum is 4") as caught:
        tool(**silent).invoke(CALLS["overton"])
    assert isinstance(caught.value.__cause__, QuorumError)
    with pytest.raises(ToolException, match="at least two options"):
        tool("distributional").invoke({"question": "Q?", "options": ["Yes"]})
    with pytest.raises(ToolException, match="question is empty"):
        asyncio.run(tool().ainvoke({"question": " "}))


def test_a_tool_for_an_unknown_mode_or_pool_is_refused() -> None:
    with pytest.raises(InputError, match="There is no mode 'vanilla'"):
        pluralism_tool(fake_pool(), mode="vanilla")
    with pytest.raises(PluralismError, match="there is no built-in pool 'nine'"):
        pluralism_tool("nine")


def test_a_tools_name_description_and_seed_can_be_given() -> None:
    north = always("N.")
    other = pluralism_tool(
        fake_pool(), models=fake_models(boss(), north=north), seed=7, name="views", description="Asks."
    )
    assert (other.name, other.description) == ("views", "Asks.")
    other.invoke(CALLS["overton"])
    graph = build_overton(fake_pool(), models=fake_models(boss(), north=north)).compile()
    for seed in (7, 8):
        graph.invoke({"question": CALLS["overton"]["question"], "seed": seed})
    assert north.seeds[0] == north.seeds[1] != north.seeds[2]


class Agent(BaseChatModel):
    """A chat model that calls tools as it is told, then answers with what they said."""

    calls: list[dict[str, Any]]
    _bound: list[str] = PrivateAttr(default_factory=list)

    @property
    def bound(self) -> list[str]:
        return self._bound

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        self._bound.extend(each.name for each in tools)
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        said = [message for message in messages if isinstance(message, ToolMessage)]
        reply = (
            AIMessage(" / ".join(str(each.content) for each in said))
            if said
            else AIMessage("", tool_calls=[*self.calls])
        )
        return ChatResult(generations=[ChatGeneration(message=reply)])

    @property
    def _llm_type(self) -> str:
        return "agent"


def agent(tools: list[BaseTool], *calls: tuple[str, dict[str, Any]]) -> Any:
    model = Agent(calls=[{"id": str(at), "name": name, "args": given} for at, (name, given) in enumerate(calls)])
    bound = model.bind_tools(tools)
    assert model.bound == [each.name for each in tools]

    def think(state: MessagesState) -> dict[str, list[AnyMessage]]:
        return {"messages": [bound.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return graph.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_agent_calls_several_tools_at_once(asynchronous: bool) -> None:
    graph = agent(
        [tool(), tool("distributional")],
        *((f"pluralism_{mode}", CALLS[mode]) for mode in ("overton", "distributional")),
    )
    asked: Any = {"messages": [HumanMessage("What do people think of voting?")]}
    config: Any = {"configurable": {"thread_id": "1"}}
    result = asyncio.run(graph.ainvoke(asked, config)) if asynchronous else graph.invoke(asked, config)
    assert result["messages"][-1].text == f"{SAID['overton']} / {SAID['distributional']}"
    first, second = (message for message in result["messages"] if isinstance(message, ToolMessage))
    assert first.artifact["answer"] == "All views."
    assert second.artifact["distribution"] == pytest.approx([0.25, 0.75])


def test_tokens_of_a_tools_communities_reach_the_agents_stream() -> None:
    graph = agent([tool()], ("pluralism_overton", CALLS["overton"]))
    said: dict[str, str] = {}
    asked: Any = {"messages": [HumanMessage("?")]}
    config: Any = {"configurable": {"thread_id": "1"}}
    for _, (message, metadata) in graph.stream(asked, config, stream_mode="messages", subgraphs=True):
        if "community" in metadata:
            said[metadata["community"]] = said.get(metadata["community"], "") + message.text
    assert said == {name: f"The view of {name}." for name in NAMES}


def test_an_agent_is_told_of_a_failure_where_that_is_wanted() -> None:
    made = tool()
    config: Any = {"configurable": {"thread_id": "1"}}
    asked: Any = {"messages": [HumanMessage("?")]}
    with pytest.raises(ToolException, match="question is empty"):
        agent([made], (made.name, {"question": " "})).invoke(asked, config)
    made.handle_tool_error = True
    result = agent([made], (made.name, {"question": " "})).invoke(asked, config)
    (told,) = (message for message in result["messages"] if isinstance(message, ToolMessage))
    assert told.status == "error"
    assert told.content == "The question is empty; write what the communities shall comment on."


def test_arguments_of_the_wrong_kind_are_told_to_the_agent() -> None:
    made = tool("distributional")
    result = agent([made], (made.name, {"question": "Q?", "options": 3})).invoke(
        {"messages": [HumanMessage("?")]}, {"configurable": {"thread_id": "1"}}
    )
    (told,) = (message for message in result["messages"] if isinstance(message, ToolMessage))
    assert told.status == "error"
    assert "options" in str(told.content)


# An embedded model


async def test_an_embedded_model_is_loaded_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded_in: list[threading.Thread] = []

    def load(settings: EngineSettings) -> Engine:
        loaded_in.append(threading.current_thread())
        return Engine(settings)

    monkeypatch.setattr(shared_engines, "Engine", load)
    pool = Pool.load("perspective")
    pool = pool.model_copy(
        update={
            "run": pool.run.model_copy(update={"comment_tokens": 2}),
            # A context that no other test has, so that there is something to load.
            "models": {"smollm2": pool.models["smollm2"].model_copy(update={"context": 777, "slots": 2})},
            "communities": {"news_left": pool.communities["news_left"]},
        }
    )
    graph = build_distributional(pool, scoring="label").compile()
    result = await graph.ainvoke({"question": "Should everybody vote?", "options": OPTIONS})
    assert sum(result["distribution"]) == pytest.approx(1)
    assert len(loaded_in) == 1
    assert loaded_in[0] is not threading.current_thread()
