"""What is read from a request, and what is refused: no model is needed for that."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, SystemMessage
from starlette.requests import Request
from starlette.testclient import TestClient

from modular_pluralism.errors import (
    ContextOverflowError,
    DeadlineError,
    EngineFullError,
    InputError,
    ModelCallError,
    QuorumError,
)
from modular_pluralism.local_names import is_loopback
from modular_pluralism.models.redaction import keep_secret
from modular_pluralism.modes import find_mode
from modular_pluralism.nodes.render import with_persona
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.serving.answers import Delta, End, Tokens, fact_headers
from modular_pluralism.serving.api_error import ApiError, api_error
from modular_pluralism.serving.app import make_app
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.concurrency import pumped
from modular_pluralism.serving.json_body import parse_object, read_body
from modular_pluralism.serving.keys import Keys, load_keys
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.middleware import request_id
from modular_pluralism.serving.mode_question import question_of, take_headers
from modular_pluralism.serving.mode_talk import Written
from modular_pluralism.serving.request_log import Exchange, RequestLog
from modular_pluralism.serving.responses import response_parts
from modular_pluralism.serving.responses_request import ResponsesRequest
from modular_pluralism.serving.schemas import ChatRequest, CompletionRequest
from modular_pluralism.serving.sending import AnswerResponse
from modular_pluralism.serving.server import check_host

KEY = "a-key-of-the-tests-0123456789"
USER = {"role": "user", "content": "Should wages be public?"}
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def chat(*messages: dict[str, Any], **more: Any) -> ChatRequest:
    return ChatRequest.model_validate({"model": "base", "messages": list(messages or [USER]), **more})


def make_server(keys: Keys, out: io.StringIO, *, prompts: bool = False) -> FastAPI:
    """A server that refuses; its models are nowhere."""
    toml = """
        base = "far"
        [models.far]
        openai = "far"
        base_url = "http://127.0.0.1:9/v1"
        [communities.near]
        model = "far"
        description = "near"
        [run]
        attempts = 1
    """
    pool = Pool.from_toml(toml, source="far.toml", folder=Path())
    limits = Limits()
    catalogue = Catalogue(pool, PromptSet.load(), "rotate", limits)
    log = RequestLog(prompts=prompts, out=out)
    return make_app(catalogue, keys=keys, limits=limits, gate=Gate(limits), log=log)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(make_server(Keys(), io.StringIO()), base_url="http://localhost") as running:
        yield running


def refused(client: TestClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.post(path, json={"model": "base", **body})
    assert response.status_code == 400, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


def refused_chat(client: TestClient, **more: Any) -> dict[str, Any]:
    return refused(client, "/v1/chat/completions", {"messages": [USER], **more})


def refused_completion(client: TestClient, **more: Any) -> dict[str, Any]:
    return refused(client, "/v1/completions", {"prompt": "a", **more})


# -- bodies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "JSON object"),
        (b'"text"', "JSON object"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": -Infinity}', "not JSON"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"a": ["\\u0000"]}', "null character"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "64 levels"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "64 levels"),
        (b'{"a": [{"b": 1, "b": 2}]}', "twice"),
        (b"\xff\xfe{}", "not UTF-8"),
        ('{"a": "\ufeff"}'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
    ],
)
def test_a_body_that_is_no_plain_json(data: bytes, said: str) -> None:
    with pytest.raises(ApiError, match=said) as caught:
        parse_object(data)
    assert caught.value.status == 400


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a": ', "}")])
def test_a_body_may_nest_sixty_four_levels_deep(opens: str, closes: str) -> None:
    def nested(levels: int) -> bytes:
        return ('{"a": ' + opens * (levels - 2) + "[]" + closes * (levels - 2) + "}").encode()

    assert parse_object(nested(64))
    with pytest.raises(ApiError, match="64 levels"):
        parse_object(nested(65))


@pytest.mark.parametrize("entry", ["{}", '"a"', "[]", "1.5", "null", '{"b": 1}'])
def test_a_body_has_so_many_parts_at_most(entry: str) -> None:
    def listed(count: int) -> bytes:
        return f'{{"a": [{", ".join([entry] * count)}]}}'.encode()

    assert parse_object(listed(8000))
    with pytest.raises(ApiError, match="more than 16384 fields, and entries that are no whole numbers; send less"):
        parse_object(listed(16_384))
    assert parse_object(f'{{"a": [{"7, " * 300_000}7]}}'.encode()), "tokens are no parts"


@pytest.mark.parametrize(
    ("path", "asked", "said"),
    [
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": "a"}] * 2049},
            "messages: .* at most 2048 items",
        ),
        ("responses", {"input": [{"role": "user", "content": "a"}] * 2048}, "input: .* at most 2047 items"),
    ],
)
def test_a_chat_has_so_many_messages_at_most(path: str, asked: dict[str, Any], said: str) -> None:
    with TestClient(make_server(Keys(), io.StringIO()), base_url="http://localhost") as client:
        answer = client.post(f"/v1/{path}", json={"model": "base", **asked})
    assert answer.status_code == 400
    assert re.match(said, answer.json()["error"]["message"])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(ApiError):
        assert isinstance(parse_object(data), dict)


async def test_a_body_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> Any:
        await asyncio.sleep(60)

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    monkeypatch.setattr("modular_pluralism.serving.json_body.PATIENCE", 0.05)
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(ApiError, match="did not arrive") as caught:
        await read_body(Request(scope, never), 100)
    assert caught.value.status == 408
    with pytest.raises(ApiError, match="was closed"):
        await read_body(Request(scope, gone), 100)


def with_headers(**headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": "POST", "headers": named}


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({}, 415, "must be JSON"),
        ({"content_type": "text/plain"}, 415, "must be JSON"),
        ({"content_type": "application/json", "content_encoding": "gzip"}, 415, "must not be compressed"),
        ({"content_type": "application/json", "content_encoding": "zstd"}, 415, "must not be compressed"),
        ({"content_type": "application/json", "content_length": "101"}, 413, "larger than 100 bytes"),
        ({"content_type": "application/json", "content_length": "9" * 5000}, 413, "larger than 100 bytes"),
    ],
)
async def test_a_body_that_its_headers_rule_out_is_not_even_read(
    headers: dict[str, str], status: int, said: str
) -> None:
    async def never() -> Any:
        raise AssertionError("the body is read")

    with pytest.raises(ApiError, match=said) as caught:
        await read_body(Request(with_headers(**headers), never), 100)
    assert caught.value.status == status


@pytest.mark.parametrize("declared", [{}, {"content_length": "2"}, {"content_length": "soon"}])
async def test_a_body_is_as_large_as_it_is_and_not_as_it_says(declared: dict[str, str]) -> None:
    async def whole() -> Any:
        return {"type": "http.request", "body": b'{"a": 1}', "more_body": False}

    scope = with_headers(content_type=" Application/JSON; charset=utf-8", content_encoding="Identity", **declared)
    assert await read_body(Request(scope, whole), 8) == b'{"a": 1}'
    with pytest.raises(ApiError, match="larger than 7 bytes") as caught:
        await read_body(Request(scope, whole), 7)
    assert (caught.value.status, caught.value.code) == (413, "body_too_large")


async def test_a_client_that_takes_nothing_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> Any:
        await asyncio.sleep(60)

    async def parts() -> Any:
        yield {"some": "text"}

    monkeypatch.setattr("modular_pluralism.serving.sending.PATIENCE", 0.05)
    exchange, gate = Exchange("1", "POST", "/v1/chat/completions"), Gate(Limits())
    await AnswerResponse(exchange, gate, parts())({}, never, never)
    assert (exchange.status, exchange.error) == (499, "client_gone")
    assert gate.running == 0


async def test_a_body_without_a_key_is_not_even_read() -> None:
    out, sent = io.StringIO(), []

    async def never() -> Any:
        raise AssertionError("the body is read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        **{"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "root_path": ""},
        "headers": [(b"content-type", b"application/json"), (b"host", b"localhost")],
    }
    await make_server(Keys([KEY]), out)(scope, never, send)
    assert sent[0]["status"] == 401
    assert (b"www-authenticate", b"Bearer") in sent[0]["headers"]
    assert json.loads(sent[1]["body"])["error"]["code"] == "invalid_api_key"
    assert json.loads(out.getvalue())["status"] == 401


def scope_of(path: str) -> dict[str, Any]:
    headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip"), (b"host", b"localhost")]
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "root_path": "", "headers": headers}


PATHS_WITH_A_BODY = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"),
    *("/tokenize", "/detokenize"),
)


@pytest.mark.parametrize("path", PATHS_WITH_A_BODY)
async def test_no_spelling_of_a_path_leads_around_the_checks_of_a_body(client: TestClient, path: str) -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError("the body is read, or an answer is sent")

    app: Any = client.app
    for spelled in (path, f"{path}\n"):
        with pytest.raises(ApiError, match="must not be compressed"):
            await app.router(scope_of(spelled), never, never)
    response = client.post(f"{path}%0A", json={"model": "base"})
    assert response.status_code == 404
    assert "unprintable" in response.json()["error"]["message"]


def test_every_path_with_a_body_is_known_here(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]
    assert {path for path, methods in described.items() if "post" in methods} == set(PATHS_WITH_A_BODY)


def test_a_body_is_checked_only_where_there_is_something(client: TestClient) -> None:
    assert client.post("/no/such/path", content=b"{").status_code == 404
    assert client.post("/v1/models", content=b"{").status_code == 405


def test_what_there_is_is_told_to_those_with_a_key_only() -> None:
    with TestClient(make_server(Keys([KEY]), io.StringIO()), base_url="http://localhost") as client:
        for path in ("/v1/models", "/openapi.json", "/no/such/path"):
            assert client.get(path).status_code == 401
        known = {"authorization": f"Bearer {KEY}"}
        assert client.get("/no/such/path", headers=known).status_code == 404
        refused = client.delete("/v1/models", headers=known)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
        assert client.get("/health").status_code == 200


def test_whatever_can_be_got_has_headers(client: TestClient) -> None:
    for path in ("/health", "/v1/models", "/openapi.json", "/no/such/path"):
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.headers["content-type"]) == (got.status_code, got.headers["content-type"])
        assert not head.content
    refused = client.head("/v1/completions")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("prompts", [True, False])
def test_the_log_holds_what_was_asked_only_where_that_is_wanted(prompts: bool) -> None:
    out = io.StringIO()
    with TestClient(make_server(Keys(), out, prompts=prompts), base_url="http://localhost") as client:
        client.post("/v1/chat/completions", json={"model": "nobody", "messages": [USER]})
        client.post("/v1/completions", json={"model": "nobody", "prompt": [1, 2]})
    chat_line, completion_line = map(json.loads, out.getvalue().splitlines())
    assert (chat_line["model"], chat_line["status"], chat_line["error"]) == ("nobody", 404, "model_not_found")
    assert chat_line.get("prompt") == ([USER] if prompts else None)
    assert completion_line.get("prompt") == ([1, 2] if prompts else None)


def test_what_a_client_makes_up_is_no_series_of_the_metrics() -> None:
    with TestClient(make_server(Keys(), io.StringIO()), base_url="http://localhost") as client:
        for number in range(3):
            client.post("/v1/chat/completions", json={"model": f"nobody-{number}", "messages": [USER]})
            client.post("/v1/completions", json={"model": f"nobody-{number}", "prompt": "a"})
            client.get(f"/nowhere-{number}")
        client.post("/v1/completions", json={"model": "pluralism/overton", "prompt": "a"})
        lines = client.get("/metrics").text.splitlines()
    series = [line for line in lines if line.startswith("pluralism_requests_total{")]
    assert sorted(series) == [
        'pluralism_requests_total{model="",path="other",status="404"} 3.0',
        'pluralism_requests_total{model="other",path="/v1/chat/completions",status="404"} 3.0',
        'pluralism_requests_total{model="other",path="/v1/completions",status="404"} 3.0',
        'pluralism_requests_total{model="pluralism/overton",path="/v1/completions",status="400"} 1.0',
    ]
    assert not [line for line in lines if "nobody" in line or "nowhere" in line]


# -- answers -----------------------------------------------------------------------------------------------------------


async def test_a_whole_answer_looks_at_every_part_a_few_times_only() -> None:
    looks = 0

    class Part(Delta):
        def __getattribute__(self, name: str) -> Any:
            nonlocal looks
            looks += name == "index"
            return super().__getattribute__(name)

    async def events() -> Any:
        for number in range(3):
            for index in range(40):
                yield Part(index, f"{index}.{number} ", {"tokens": [number]})
        for index in reversed(range(40)):
            yield End(index, "stop", Tokens(completion=3))

    request = CompletionRequest(model="base", prompt=["a"] * 40)
    (answer,) = [part async for part in response_parts(events(), request, Exchange("1", "POST", "/v1/completions"))]
    assert [choice["index"] for choice in answer["choices"]] == list(range(40))
    assert answer["choices"][7]["text"] == "7.0 7.1 7.2 "
    assert answer["choices"][7]["logprobs"] == {"tokens": [0, 1, 2]}
    assert answer["usage"]["completion_tokens"] == 120
    assert looks <= 2 * 120


def test_headers_tell_of_a_run_in_plain_letters() -> None:
    facts = {
        "mode": "steerable",
        "pool": "a pool",
        "seed": 3,
        "missing": ["ä,b", "c"],
        "selected": {"community": "d e"},
    }
    assert fact_headers(facts) == {
        "x-pluralism-mode": "steerable",
        "x-pluralism-pool": "a%20pool",
        "x-pluralism-seed": "3",
        "x-pluralism-missing": "%C3%A4%2Cb,c",
        "x-pluralism-selected": "d%20e",
    }
    assert fact_headers({"mode": "overton", "missing": []}) == {
        "x-pluralism-mode": "overton",
        "x-pluralism-missing": "",
    }
    assert fact_headers({"seed": 3}) == {}


# -- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [{"type": "retrieval", "function": {"name": "f"}}]}, "tools.0.type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
        ({"tool_choice": "always"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": True}, "presence_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"reasoning_effort": "utmost"}, "reasoning_effort"),
        ({"guided_json": {}}, "guided_json"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 5.5}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"n": 0}, "n"),
        ({"stop": [""]}, "stop.0"),
        ({"stop": 5}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "system", "content": None}]}, "messages.0.content"),
        ({"messages": ["x"]}, "messages.0"),
        ({"messages": [{**USER, "tool_calls": [5]}]}, "messages.0.tool_calls.0"),
        ({"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [{}]}]}, "messages.1.tool_calls.0.id"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content.0.type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {}}]}]},
            "messages.0.content.0.cache_control",
        ),
        ({"stream": True, "stream_options": {"include_costs": True}}, "stream_options.include_costs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "grammar": "x"}}},
            "response_format.json_schema.grammar",
        ),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
    ],
)
def test_a_field_that_is_refused_is_named(client: TestClient, more: dict[str, Any], param: str) -> None:
    error = refused_chat(client, **more)
    assert error["param"] == param
    assert param.removesuffix(".type") in error["message"]
    assert error["message"].endswith(".")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"guided_json": {}}, "There is no field guided_json here; leave it out."),
        ({"messages": [{"role": "user"}]}, "messages.0.content is missing; add it."),
        ({"messages": [5]}, "messages.0 must be a JSON object."),
        ({"functions": [{}]}, "functions is not supported; leave it out."),
        (
            {"messages": [{"role": "tool", "content": "rain"}]},
            "tool_call_id must be there in a message of the role 'tool', and in no other.",
        ),
        (
            {"messages": [{"role": "user", "content": "", "tool_calls": [CALL]}]},
            "tool_calls stand in messages of the role 'assistant' only; take them out.",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "5"}}]}
                ]
            },
            "arguments of a tool call must be a JSON object, as text.",
        ),
        ({"temperature": 3}, "temperature: input should be less than or equal to 2."),
        ({"\n" + "x" * 90: 1}, "There is no field \\n" + "x" * 59 + " here; leave it out."),
        ({f"field{number}": 1 for number in range(1000)}, "There is no field field0 here; leave it out."),
    ],
)
def test_what_is_wrong_with_a_field_is_told(client: TestClient, more: dict[str, Any], said: str) -> None:
    assert refused_chat(client, **more)["message"] == said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id: this server keeps no responses; send the whole"),
        ({"tools": [{"type": "web_search"}]}, "tools are not supported here; leave them out, or send a chat"),
        ({"background": True}, "background is not supported; leave it out."),
        ({"input": []}, "input: list should have at least 1 item"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input.0.content"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format: schema must be there"),
        ({"max_output_tokens": 10**6}, "max_output_tokens is 1000000, and this server allows at most"),
        ({"model": "gpt-5"}, "There is no model 'gpt-5' here"),
    ],
)
def test_what_responses_do_not_take_is_told(client: TestClient, more: dict[str, Any], said: str) -> None:
    response = client.post("/v1/responses", json={"model": "base", "input": "Hello", **more})
    assert response.status_code in (400, 404)
    assert said in response.json()["error"]["message"]


def test_a_response_is_asked_as_a_chat() -> None:
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "Hi.", "annotations": []}]}
    request = ResponsesRequest.model_validate(
        {
            "model": "base",
            "instructions": "Be brief.",
            "input": [USER, said, {"type": "message", "role": "user", "content": "Why?"}],
            "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}},
            "reasoning": {"effort": "low"},
            "tools": [{"type": "web_search"}],
            "tool_choice": "none",
        }
    )
    asked = request.chat()
    assert [(turn.role, turn.content) for turn in asked.messages] == [
        ("system", "Be brief."),
        ("user", USER["content"]),
        ("assistant", "Hi."),
        ("user", "Why?"),
    ]
    assert asked.response_format is not None
    assert asked.response_format.json_schema is not None
    assert asked.response_format.json_schema.definition == {"type": "object"}
    assert asked.reasoning_effort == "low"


def test_fields_within_fields_may_be_null(client: TestClient) -> None:
    request = chat(USER | {"name": None, "no_such": None}, stream=True, stream_options={"include_usage": None})
    assert not request.with_usage
    assert chat({"role": "assistant", "content": "Hi", "refusal": None, "annotations": [], "tool_calls": []}, USER)


def test_fields_that_change_nothing_are_ignored() -> None:
    request = chat(
        *(USER,),
        user="somebody",
        store=False,
        tools=[],
        tool_choice="none",
        logit_bias={},
        presence_penalty=0,
        audio=None,
        parallel_tool_calls=True,
        stop="end",
        max_completion_tokens=7,
        max_tokens=9,
    )
    assert request.stop == ["end"]
    assert request.most_tokens == 7


def test_messages_are_texts() -> None:
    request = chat(
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One, "}, {"type": "text", "text": "two."}]},
        {"role": "assistant", "content": None},
        {"role": "assistant", "reasoning_content": "They want it brief."},
        USER,
    )
    assert [(turn.type, turn.text) for turn in request.turns()] == [
        ("system", "Be brief."),
        ("human", "One, two."),
        ("ai", ""),
        ("ai", ""),
        ("human", "Should wages be public?"),
    ]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"n": 9}, "n is 9"),
        ({"max_tokens": 5000}, "max_tokens is 5000"),
        ({"max_completion_tokens": 5000}, "5000"),
        ({"stop": ["x"] * 17}, "number of stop strings is 17"),
        ({"stop": "x" * 257}, "length of a stop string is 257"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs is 21"),
        ({"top_logprobs": 2}, "needs logprobs"),
    ],
)
def test_limits(client: TestClient, more: dict[str, Any], said: str) -> None:
    error = refused_chat(client, **more)
    assert said in error["message"]
    assert error["param"] in more


def test_no_limit_is_the_last_that_is_allowed() -> None:
    most = {"max_tokens": 4096, "n": 8, "stop": ["x" * 256] * 16, "logprobs": True, "top_logprobs": 20}
    Limits().check(chat(**most))
    Limits(top_logprobs=0).check(chat(logprobs=True))


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        (["a", [1]], ["a", [1]]),
    ],
)
def test_prompts(prompt: Any, found: list[Any]) -> None:
    assert CompletionRequest.model_validate({"model": "base", "prompt": prompt}).prompt == found


@pytest.mark.parametrize(
    "prompt", ["", [], [[]], [""], [True], [1.5], [[-1]], [[2**31]], [[True]], {"a": 1}, 5, [None]]
)
def test_prompts_that_are_none(client: TestClient, prompt: Any) -> None:
    error = refused_completion(client, prompt=prompt)
    assert error["param"] == "prompt"
    assert error["message"].startswith("prompt must be a text")


@pytest.mark.parametrize(
    ("more", "said", "param"),
    [
        ({"prompt": ["a"] * 129}, "the number of prompts is 129", "prompt"),
        ({"logprobs": 21}, "logprobs is 21", "logprobs"),
        ({"max_tokens": 0}, "echo", "max_tokens"),
        ({"suffix": "x"}, "not supported", "suffix"),
        ({"best_of": 2}, "not supported", "best_of"),
        ({"stream_options": {}}, "only for streams", "stream_options"),
    ],
)
def test_completions_have_limits_of_their_own(client: TestClient, more: dict[str, Any], said: str, param: str) -> None:
    error = refused_completion(client, **more)
    assert said in error["message"]
    assert error["param"] == param


def test_the_schema_tells_limits_models_errors_and_streams(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    schemas = schema["components"]["schemas"]
    for name in ("ChatRequest", "ChatMessage", "TextPart", "StreamOptions", "ResponseFormat", "CompletionRequest"):
        assert schemas[name]["additionalProperties"] is False
    chat_fields, completion_fields = schemas["ChatRequest"]["properties"], schemas["CompletionRequest"]["properties"]
    assert chat_fields["n"]["anyOf"][0]["maximum"] == 8
    assert completion_fields["logprobs"]["anyOf"][0]["maximum"] == 20
    assert "pluralism/overton" in chat_fields["model"]["enum"]
    assert completion_fields["model"]["enum"] == ["base", "community/near"]
    assert completion_fields["tools"]["enum"] == [[], None]
    assert schemas["EmbeddingsRequest"]["properties"]["model"]["enum"] == ["base", "far"]
    assert set(schemas["ErrorFacts"]["required"]) == {"message", "type", "param", "code"}
    for path in ("/v1/chat/completions", "/v1/completions"):
        responses = schema["paths"][path]["post"]["responses"]
        assert set(responses["200"]["content"]) == {"application/json", "text/event-stream"}
        assert responses["default"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
        assert "422" not in responses
    assert "503" in schema["paths"]["/health"]["get"]["responses"]


@pytest.mark.parametrize(
    ("more", "status", "said", "param"),
    [
        ({"model": "pluralism/overton"}, 400, "pluralism/overton gives no vectors; use one of base, far.", "model"),
        ({"model": "community/near"}, 400, "community/near gives no vectors; use one of base, far.", "model"),
        ({"model": "nobody"}, 404, "There is no model 'nobody' here; use one of base, far.", "model"),
        ({"input": ""}, 400, "input must be a text, a list of tokens, ", "input"),
        ({"input": []}, 400, "input must be a text, ", "input"),
        ({"input": ["rain", ""]}, 400, "input must be a text, ", "input"),
        ({"input": [[1, -1]]}, 400, "input must be a text, ", "input"),
        ({"input": ["a"] * 2049}, 400, "the number of inputs is 2049, and this server allows at most 2048.", "input"),
        ({"encoding_format": "int8"}, 400, "encoding_format: ", "encoding_format"),
        ({"dimensions": 0}, 400, "dimensions: ", "dimensions"),
        ({"stream": True}, 400, "There is no field stream here; leave it out.", "stream"),
        ({"user": "somebody"}, 503, "model 'far' (far at http://127.0.0.1:9/v1) failed: it could not be reached", None),
    ],
)
def test_what_is_no_request_for_vectors_is_refused(
    client: TestClient, more: dict[str, Any], status: int, said: str, param: str | None
) -> None:
    answer = client.post("/v1/embeddings", json={"model": "base", "input": "rain", **more})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert error["message"].startswith(said)


# -- questions of the modes --------------------------------------------------------------------------------------------


def asked_of(mode: str, request: ChatRequest) -> dict[str, Any]:
    asked = question_of(find_mode(mode), request, 3)
    assert asked.pop("seed") == 3
    return asked


def said(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def test_headers_are_read_from_the_top_of_the_last_message() -> None:
    request = chat(said("Attribute: care\noption: Yes\nOPTION:  No \n\n Should wages\n\nbe public?"))
    assert asked_of("steerable", request) == {
        "question": "Should wages\n\nbe public?",
        "attribute": "care",
        "options": ["Yes", "No"],
    }
    assert take_headers("Is this it?\nOption: Yes\n\n?")[0] == {"attribute": [], "option": []}


def test_metadata_says_the_same() -> None:
    request = chat(metadata={"attribute": "care", "options": '["Yes", "No"]', "other": "is not ours"})
    asked = {"question": USER["content"], "attribute": "care", "options": ["Yes", "No"]}
    assert asked_of("distributional", request) == asked
    assert asked_of("steerable", chat(metadata={"attribute": "care"})) == {
        "question": USER["content"],
        "attribute": "care",
    }


def test_a_longer_chat_is_told_turn_by_turn() -> None:
    request = chat(
        {"role": "system", "content": "Be kind."}, said("Hi"), {"role": "assistant", "content": "Hello"}, USER
    )
    history = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]
    assert asked_of("overton", request) == {"question": "Should wages be public?", "history": history}


@pytest.mark.parametrize(
    ("mode", "content", "metadata", "why"),
    [
        ("steerable", "Why?", None, "needs an attribute"),
        ("distributional", "Why?", None, "needs options"),
        ("distributional", "Option: Yes\n\nWhy?", None, "at least two options"),
        ("distributional", "Option: Yes\nOption: Yes\n\nWhy?", None, "there twice"),
        ("distributional", "Option: Yes\nOption: No\nWhy?", None, "empty line"),
        ("distributional", "Option: Yes\nOption: No", None, "empty line"),
        ("distributional", "Option: Yes\nOption: No\n\n", None, "question is empty"),
        ("distributional", "Option: Yes\nOption: No\n\nWhy?", {"options": '["A", "B"]'}, "given twice"),
        ("distributional", "Why?", {"options": "Yes, No"}, "JSON list"),
        ("distributional", "Why?", {"options": "[" * 60_000}, "JSON list"),
        ("distributional", "Why?", {"options": "[1, 2]"}, "JSON list"),
        ("steerable", "Attribute: a\nAttribute: b\n\nWhy?", None, "given 2 times"),
        ("steerable", "Attribute: a\n\nWhy?", {"attribute": "a"}, "given 2 times"),
        ("steerable", "Attribute:\n\nWhy?", None, "needs an attribute"),
        ("steerable", "Why?", {"attribute": 5}, "must be a text"),
        ("overton", "Attribute: a\n\nWhy?", None, "takes no attribute"),
        ("overton", "Why?", {"options": '["Yes", "No"]'}, "takes no options"),
        ("overton", " ", None, "question is empty"),
    ],
)
def test_a_question_that_a_mode_cannot_answer(mode: Any, content: str, metadata: Any, why: str) -> None:
    with pytest.raises((ApiError, InputError), match=why) as caught:
        asked_of(mode, chat(said(content), metadata=metadata))
    assert api_error(caught.value).status == 400


def test_the_last_message_is_a_users() -> None:
    with pytest.raises(ApiError, match="must be a user's"):
        asked_of("overton", chat(USER, {"role": "assistant", "content": "Yes."}))


def test_parts_of_an_answer_are_stripped_as_the_whole_is() -> None:
    written = Written()
    parts = [written.add("1", part) for part in ("\n ", " So", " it", " ", "\n", "is. ", " ")]
    assert "".join(parts) == written.text == "So it \nis."
    with pytest.raises(ModelCallError, match="begun anew"):
        written.add("2", "So")


def test_persona_comes_first() -> None:
    messages = with_persona("I am north.", [SystemMessage("Be brief."), HumanMessage("Hi"), SystemMessage("Be kind.")])
    assert [message.text for message in messages] == ["I am north.\n\nBe brief.\n\nBe kind.", "Hi"]
    assert with_persona(None, [HumanMessage("Hi")]) == [HumanMessage("Hi")]


# -- keys, ids and the log ---------------------------------------------------------------------------------------------


def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# mine\n\n  {KEY}  \nanother-key-0123456789\n")
    monkeypatch.setenv("MODULAR_PLURALISM_KEYS", "third-key-0123456789, fourth-key-0123456789")
    keys = load_keys(file)
    assert keys.number(f"Bearer {KEY}") == 1
    assert keys.number("bearer fourth-key-0123456789") == 4
    for wrong in (None, "", KEY, f"Basic {KEY}", f"Bearer {KEY}x", "Bearer ", "Bearer \xff\ud800"):
        with pytest.raises(ApiError) as caught:
            keys.number(wrong)
        assert caught.value.status == 401
        assert KEY not in str(caught.value)
    assert Keys().number(None) is None
    assert not Keys()


@pytest.mark.parametrize(
    ("text", "why"),
    [("# nothing\n", "no API key"), ("short\n", "key 1"), ("with a blank within it\n", "key 1"), ("ä" * 20, "key 1")],
)
def test_keys_that_are_none(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(InputError, match=why) as caught:
        load_keys(file)
    assert text.strip() not in str(caught.value).replace("too short", "") or text.startswith("#")
    with pytest.raises(InputError, match="cannot be read"):
        load_keys(tmp_path / "absent")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "192.168.0.7", ""])
def test_other_addresses_want_keys(host: str) -> None:
    with pytest.raises(InputError, match="keys are needed"):
        check_host(host, Keys())
    check_host(host, Keys([KEY]))


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "")))


def test_request_ids() -> None:
    assert request_id("a-sane_id.1:2") == "a-sane_id.1:2"
    for odd in (None, "", "a b", "a\n", "x" * 129, '"', "\u00e9"):
        assert request_id(odd).startswith("req-")


def test_the_log_holds_no_key() -> None:
    keep_secret(KEY)
    out = io.StringIO()
    log = RequestLog(out=out)
    exchange = Exchange("1", "POST", f"/v1/{KEY}", prompt="a secret question")
    log.done(exchange)
    try:
        raise ValueError("a secret question")
    except ValueError as error:
        log.mistake(exchange, error)
    assert KEY not in out.getvalue()
    assert "secret question" not in out.getvalue()
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["event"] == "request"
    assert second["error"] == "ValueError"


# -- errors ------------------------------------------------------------------------------------------------------------


class RefusedError(Exception):
    def __init__(self, status_code: int) -> None:
        super().__init__("no")
        self.status_code = status_code


def caused(status: int) -> ModelCallError:
    error = ModelCallError("model 'x' failed")
    error.__cause__ = RefusedError(status)
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x"), 400),
        (ContextOverflowError("x"), 400),
        (EngineFullError("x"), 429),
        (QuorumError("x"), 503),
        (ModelCallError("x"), 503),
        (DeadlineError("x"), 504),
        (caused(400), 400),
        (caused(401), 503),
        (caused(429), 429),
        (caused(500), 503),
        (ValueError("x"), 500),
    ],
)
def test_status_of_an_error(error: Exception, status: int) -> None:
    told = api_error(error)
    assert told.status == status
    assert set(told.body()["error"]) == {"message", "type", "param", "code"}
    assert ("retry-after" in told.headers()) == (status == 429)


# -- turns and tasks ---------------------------------------------------------------------------------------------------


async def test_turns() -> None:
    gate = Gate(Limits(running=1, waiting=1, per_key=2))
    release = asyncio.Event()

    async def stay(key: int | None) -> str:
        try:
            async with gate.turn(key):
                await release.wait()
                return "done"
        except ApiError as error:
            return f"{error.status} {error.code}"

    first, second = asyncio.create_task(stay(1)), asyncio.create_task(stay(1))
    await asyncio.sleep(0)
    assert (gate.running, gate.waiting) == (1, 1)
    assert await stay(1) == "429 key_limit"
    assert await stay(2) == "429 queue_full"
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    assert gate.waiting == 0
    third = asyncio.create_task(stay(2))
    await asyncio.sleep(0)
    gate.close(5)
    assert await stay(2) == "503 stopping"
    assert not await gate.wait_until_empty(0.01)
    release.set()
    assert list(await asyncio.gather(first, third)) == ["done", "done"]
    assert await gate.wait_until_empty(1)
    assert (gate.running, gate.waiting) == (0, 0)


async def test_one_failure_ends_the_others() -> None:
    ended = []

    async def long() -> Any:
        try:
            await asyncio.sleep(60)
            yield "never"
        finally:
            ended.append("long")

    async def fail() -> Any:
        await asyncio.sleep(0)
        yield "before"
        raise InputError("wrong")

    with pytest.raises(InputError, match="wrong"):
        async with pumped(long(), fail()) as items:
            assert [item async for item in items] == ["before"]
    assert ended == ["long"]


async def test_leaving_early_interrupts_every_stream() -> None:
    ended = []

    async def stream(name: str) -> Any:
        try:
            yield name
            await asyncio.sleep(60)
        finally:
            ended.append(name)

    async with pumped(stream("a"), stream("b")) as items:
        async for _ in items:
            break
    assert sorted(ended) == ["a", "b"]
