"""What is read from a request, and what is refused: no model is needed for that."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, SystemMessage
from starlette.requests import Request

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
from modular_pluralism.serving.api_error import ApiError, api_error
from modular_pluralism.serving.chat_request import ChatRequest, check_chat
from modular_pluralism.serving.completion_request import CompletionRequest, within
from modular_pluralism.serving.exchange import Exchange
from modular_pluralism.serving.fields import read
from modular_pluralism.serving.gate import Gate
from modular_pluralism.serving.json_body import json_body, parse_object
from modular_pluralism.serving.keys import Keys, load_keys
from modular_pluralism.serving.limits import Limits
from modular_pluralism.serving.mode_question import question_of, take_headers
from modular_pluralism.serving.mode_talk import Written
from modular_pluralism.serving.model_talk import with_persona
from modular_pluralism.serving.parallel import all_of, pumped
from modular_pluralism.serving.reply import Reply
from modular_pluralism.serving.request_id import request_id
from modular_pluralism.serving.request_log import RequestLog
from modular_pluralism.serving.server import Place, check_place

KEY = "a-key-of-the-tests-0123456789"
USER = {"role": "user", "content": "Should wages be public?"}


def chat(*messages: dict[str, Any], **more: Any) -> ChatRequest:
    return read(ChatRequest, {"model": "base", "messages": list(messages or [USER]), **more})


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
        (b"\xff\xfe{}", "not UTF-8"),
        ('{"a": "\ufeff"}'.encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
    ],
)
def test_a_body_that_is_no_plain_json(data: bytes, said: str) -> None:
    with pytest.raises(ApiError, match=said) as caught:
        parse_object(data)
    assert caught.value.status == 400


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
        await json_body(Request(scope, never), 100)
    assert caught.value.status == 408
    with pytest.raises(ApiError, match="was closed"):
        await json_body(Request(scope, gone), 100)


async def test_a_client_that_takes_nothing_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> Any:
        await asyncio.sleep(60)

    async def parts() -> Any:
        yield {"some": "text"}

    monkeypatch.setattr("modular_pluralism.serving.reply.PATIENCE", 0.05)
    exchange, gate = Exchange("1", "POST", "/v1/chat/completions"), Gate(Limits())
    await Reply(exchange, gate, RequestLog(), None, parts)({}, never, never)
    assert (exchange.status, exchange.error) == (499, "client_gone")
    assert gate.running == 0


# -- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"presence_penalty": True}, "presence_penalty"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
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
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{}]}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
    ],
)
def test_a_field_that_is_refused_is_named(more: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        chat(**{"messages": [USER], **more})
    assert caught.value.status == 400
    assert caught.value.param == param


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
        {"role": "assistant"},
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
def test_limits(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiError, match=said):
        check_chat(chat(**more), Limits())


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
    assert read(CompletionRequest, {"model": "base", "prompt": prompt}).prompt == found


@pytest.mark.parametrize(
    "prompt", ["", [], [[]], [""], [True], [1.5], [[-1]], [[2**31]], [[True]], {"a": 1}, 5, [None]]
)
def test_prompts_that_are_none(prompt: Any) -> None:
    with pytest.raises(ApiError, match="prompt"):
        read(CompletionRequest, {"model": "base", "prompt": prompt})


def test_completions_have_limits_of_their_own() -> None:
    with pytest.raises(ApiError, match="129 prompts"):
        within(Limits(), read(CompletionRequest, {"model": "base", "prompt": ["a"] * 129}))
    with pytest.raises(ApiError, match="echo"):
        within(Limits(), read(CompletionRequest, {"model": "base", "prompt": "a", "max_tokens": 0}))
    assert within(Limits(tokens=9), read(CompletionRequest, {"model": "base", "prompt": "a"})).most_tokens == 9
    for more in ({"suffix": "x"}, {"best_of": 2}):
        with pytest.raises(ApiError, match="not supported"):
            read(CompletionRequest, {"model": "base", "prompt": "a", **more})


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
    told = "system: Be kind.\n\nuser: Hi\n\nassistant: Hello\n\nuser: Should wages be public?"
    assert asked_of("overton", request) == {"question": told}


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
        check_place(Place(host, 0, 1), Keys())
    check_place(Place(host, 0, 1), Keys([KEY]))


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


# -- places and tasks --------------------------------------------------------------------------------------------------


async def test_places() -> None:
    gate = Gate(Limits(running=1, waiting=1, per_key=2))
    release = asyncio.Event()

    async def stay(key: int | None) -> str:
        try:
            async with gate.place(key):
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

    async def long() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("long")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise InputError("wrong")

    with pytest.raises(InputError, match="wrong"):
        await all_of([long(), fail()])
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
