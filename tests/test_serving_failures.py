"""What clients are told when models fail: an error, and never an answer that is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai.types import Completion

from modular_pluralism.errors import ModelCallError
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.serving.answers import Tokens
from modular_pluralism.serving.app import make_app
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.keys import Keys
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.remote_completion import _checked
from modular_pluralism.serving.request_log import Exchange, RequestLog
from modular_pluralism.serving.schemas import CompletionRequest
from tests.fake_endpoint import FakeEndpoint

NAMES = ("north", "east", "south")


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint().running() as running:
        running.behave("boss", "logprobs")
        yield running


def remote_pool(endpoint: FakeEndpoint, *, key: str = "", **run: Any) -> Pool:
    keyed = f'api_key_env = "{key}"\n' if key else ""
    models = "\n".join(
        f'[models.{name}]\nopenai = "{name}"\nbase_url = "{endpoint.address}"\n{keyed}' for name in ("boss", *NAMES)
    )
    communities = "\n".join(f'[communities.{name}]\nmodel = "{name}"\ndescription = "{name}"\n' for name in NAMES)
    settings = "\n".join(f"{key} = {value}" for key, value in {"attempts": 1, "deadline": 20, **run}.items())
    text = f'base = "boss"\n{models}\n{communities}\n[run]\n{settings}\n'
    return Pool.from_toml(text, source="remote.toml", folder=Path())


def client_of(pool: Pool, log: RequestLog | None = None) -> httpx.AsyncClient:
    limits = Limits()
    app = make_app(
        Catalogue(pool, PromptSet.load(), "rotate", limits),
        keys=Keys(),
        limits=limits,
        gate=Gate(limits),
        log=log or RequestLog(),
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=60)


async def ask(pool: Pool, model: str, content: str = "Should wages be public?", **more: Any) -> httpx.Response:
    async with client_of(pool) as client:
        body = {"model": model, "messages": [{"role": "user", "content": content}], **more}
        return await client.post("/v1/chat/completions", json=body)


def events(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def test_who_is_missing_is_told(endpoint: FakeEndpoint) -> None:
    endpoint.behave("east", "broken")
    reply = (await ask(remote_pool(endpoint), "pluralism/overton", seed=1)).json()
    assert reply["pluralism"]["missing"] == ["east"]
    assert "status 500" in reply["pluralism"]["comments"]["east"]["error"]
    assert reply["choices"][0]["message"]["content"] == "The view of boss."
    response = await ask(remote_pool(endpoint), "pluralism/overton", seed=1, stream=True)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    streamed = events(response)
    assert streamed[-1] == "[DONE]"
    assert streamed[-2]["pluralism"]["missing"] == ["east"]
    # Also in headers, which come before the text.
    assert response.headers["x-pluralism-missing"] == "east"
    assert response.headers["x-pluralism-mode"] == "overton"
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in streamed[:-1]) == "The view of boss."


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["pluralism/overton", "pluralism/steerable", "pluralism/distributional"])
async def test_without_a_quorum_there_is_no_answer(endpoint: FakeEndpoint, model: str, stream: bool) -> None:
    for name in ("east", "south"):
        endpoint.behave(name, "broken")
    content = {
        "pluralism/overton": "Why?",
        "pluralism/steerable": "Attribute: care\n\nWhy?",
        "pluralism/distributional": "Option: Yes\nOption: No\n\nWhy?",
    }[model]
    response = await ask(remote_pool(endpoint), model, content, stream=stream)
    assert response.status_code == 503
    error = response.json()["error"]
    assert "1 of 3 communities answered, and the quorum is 2" in error["message"]
    assert error["code"] == "run_failed"


async def test_a_deadline_is_504(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "hang")
    for model in ("base", "pluralism/overton"):
        response = await ask(remote_pool(endpoint, deadline=0.5), model)
        assert response.status_code == 504, response.text


@pytest.mark.parametrize("behaviour", ["ends_early", "stream_error", "cut"])
@pytest.mark.parametrize("model", ["base", "community/north"])
async def test_a_stream_that_breaks_ends_with_an_error(endpoint: FakeEndpoint, behaviour: Any, model: str) -> None:
    endpoint.behave({"base": "boss", "community/north": "north"}[model], behaviour)
    response = await ask(remote_pool(endpoint), model, stream=True)
    assert response.status_code == 200
    told = events(response)
    assert told[-1]["error"]["type"] == "server_error"
    assert "[DONE]" not in told
    assert all(not choice["finish_reason"] for each in told[:-1] for choice in each["choices"])


async def test_an_answer_that_is_begun_anew_is_not_told_twice(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "ends_early", "ok")
    response = await ask(remote_pool(endpoint, attempts=2), "pluralism/overton", stream=True)
    told = events(response)
    assert "begun anew" in told[-1]["error"]["message"]
    assert "[DONE]" not in told


async def test_a_stream_is_tried_again_before_its_first_word(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "slow_down", "ok")
    told = events(await ask(remote_pool(endpoint, attempts=2), "base", stream=True))
    assert told[-1] == "[DONE]"
    assert len(endpoint.asked("boss")) == 2


async def test_what_a_remote_model_refuses_is_the_requests_fault(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "refuses_logprobs")
    response = await ask(remote_pool(endpoint), "base", logprobs=True)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "refused_by_remote_model"
    endpoint.behave("boss", "unauthorized")
    assert (await ask(remote_pool(endpoint), "base")).status_code == 503


async def test_settings_reach_a_remote_model(endpoint: FakeEndpoint) -> None:
    schema = {"name": "x", "schema": {"type": "object"}, "strict": True}
    response = await ask(
        remote_pool(endpoint),
        "community/north",
        temperature=0.25,
        top_p=0,
        max_tokens=9,
        seed=4,
        stop=["x"],
        response_format={"type": "json_schema", "json_schema": schema},
    )
    assert response.status_code == 200
    (sent,) = endpoint.asked("north")
    assert sent.body["temperature"] == 0.25
    assert sent.body["top_p"] == 0
    assert sent.body["seed"] == 4
    assert sent.body["stop"] == ["x"]
    assert sent.body["max_tokens"] == 9
    assert sent.body["response_format"] == {"type": "json_schema", "json_schema": schema}


async def test_who_speaks_is_told_to_a_remote_model(endpoint: FakeEndpoint) -> None:
    said = {"role": "user", "name": "ann", "content": "Should wages be public?"}
    async with client_of(remote_pool(endpoint)) as client:
        assert (await client.post("/v1/chat/completions", json={"model": "base", "messages": [said]})).is_success
    (sent,) = endpoint.asked("boss")
    assert sent.body["messages"] == [said]


async def test_a_modes_temperature_is_that_of_every_text(endpoint: FakeEndpoint) -> None:
    await ask(remote_pool(endpoint), "pluralism/overton", temperature=0.125, max_tokens=11)
    sent = [each.body for each in endpoint.requests]
    assert {each["model"] for each in sent} == {"boss", *NAMES}
    assert {each["temperature"] for each in sent} == {0.125}
    assert [each["max_tokens"] for each in sent if each["model"] == "boss"] == [11]


async def test_estimates_say_how_many_replies_stand_behind_them(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "ok")
    response = await ask(remote_pool(endpoint), "pluralism/distributional", "Option: Yes\nOption: No\n\nWhy?")
    assert response.status_code == 503  # "The view of boss." names no option
    assert "sampled replies" in response.json()["error"]["message"]


@pytest.mark.parametrize("more", [{"n": 2}, {"stop": "x"}, {"logprobs": True}])
async def test_what_a_run_has_not_is_refused(endpoint: FakeEndpoint, more: dict[str, Any]) -> None:
    response = await ask(remote_pool(endpoint), "pluralism/overton", **more)
    assert response.status_code == 400
    assert response.json()["error"]["param"] in more
    assert not endpoint.requests


@pytest.mark.parametrize("usage", [{"prompt_tokens": float("nan"), "completion_tokens": "many"}, None])
def test_a_raw_completion_is_handed_on_in_numbers_that_can_be(usage: Any) -> None:
    request, exchange = CompletionRequest(model="base", prompt=["Why?"]), Exchange("1", "POST", "/v1/completions")
    choice = {"index": 0, "text": "So.", "logprobs": {"token_logprobs": [float("-inf")]}}
    handed = _checked(Completion.model_construct(choices=[choice], usage=usage), request, exchange)
    json.dumps(handed, allow_nan=False)
    assert handed["choices"][0]["text"] == "So."
    assert exchange.tokens == Tokens()
    for choices in ([None], [{"text": 3}], None):
        with pytest.raises(ModelCallError, match="no completion"):
            _checked(Completion.model_construct(choices=choices), request, exchange)


async def test_raw_completions_of_a_remote_model_are_handed_on(endpoint: FakeEndpoint) -> None:
    async with client_of(remote_pool(endpoint)) as client:
        response = await client.post("/v1/completions", json={"model": "base", "prompt": "Hello", "seed": 3})
    (sent,) = endpoint.requests
    assert sent.path == "/v1/completions"
    assert (sent.body["model"], sent.body["prompt"], sent.body["seed"]) == ("boss", ["Hello"], 3)
    assert response.status_code == 503  # this endpoint answers with a chat, which is no completion
    assert "no completion" in response.json()["error"]["message"]


async def test_a_mistake_of_ours_is_told_without_details(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: Any) -> Any:
        yield {}
        raise RuntimeError("a secret question")

    monkeypatch.setattr("modular_pluralism.serving.routes.response_parts", broken)
    response = await ask(remote_pool(endpoint), "base")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal"
    assert "secret" not in response.text + capsys.readouterr().err


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["pluralism/overton", "community/north", "base"])
async def test_a_key_that_an_endpoint_says_is_not_served(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], model: str, stream: bool
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-canary-of-what-is-served-42")
    for name in ("boss", *NAMES):
        endpoint.behave(name, "echo")
    response = await ask(remote_pool(endpoint, key="MY_KEY"), model, stream=stream)
    assert response.status_code == 200
    parts = [each for each in events(response) if each != "[DONE]"] if stream else [response.json()]
    deltas = [choice["delta" if stream else "message"] for part in parts for choice in part["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "You sent Bearer *** as"
    told = response.text + repr(response.headers) + "".join(capfd.readouterr())
    assert not any(piece in told for piece in ("sk-c", "canary", "erved-42"))


async def test_a_key_in_a_raw_completion_is_not_served(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-canary-of-what-is-served-43")
    endpoint.behave("boss", "echo")
    async with client_of(remote_pool(endpoint, key="MY_KEY")) as client:
        body = {"model": "base", "prompt": "Which key?", "stream": True}
        response = await client.post("/v1/completions", json=body)
    texts = [choice["text"] for each in events(response) if each != "[DONE]" for choice in each["choices"]]
    assert "".join(texts) == "You sent Bearer *** as"
    assert "canary" not in response.text
