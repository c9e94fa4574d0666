"""Whatever JSON an endpoint sends in the place of a reply is a reply or a failed call, never a mistake in code: of the
pool's models and of an application's own.

Mistakes in code end a run; see tests/test_calls.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from modular_pluralism.graphs import build_overton
from modular_pluralism.models.calls import CallResult, is_mistake
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.models.remote_chat import RemoteChat
from modular_pluralism.models.reply_reader import ReplyOptionReader
from modular_pluralism.nodes import ask
from tests.fake_models import always, fake_models, fake_pool
from tests.provider_endpoints import top_logprobs

PROMPT: list[BaseMessage] = [HumanMessage("Which one?")]
ABSENT = object()
ODD: tuple[Any, ...] = (
    *(ABSENT, None, -1, 1e30, math.nan, 10**400, "many", [], {}, [None]),
    [{"type": "text", "text": 3}, {"type": "thinking", "thinking": [3]}],
)
USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 1,
    "total_tokens": 4,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 0},
}
FRAME = {"id": "1", "created": 1, "model": "odd", "service_tier": None, "system_fingerprint": "x"}
SAID = {"role": "assistant", "content": "A", "refusal": None, "tool_calls": None, "reasoning_content": "Hm."}
WHOLE = {
    **FRAME,
    "object": "chat.completion",
    "choices": [{"index": 0, "message": SAID, "finish_reason": "stop", "logprobs": top_logprobs(5)}],
    "usage": USAGE,
}
CHUNK = {
    **FRAME,
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": SAID, "finish_reason": None, "logprobs": top_logprobs(5)}],
    "usage": None,
}
LAST = {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a value, the value itself first."""
    yield path
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value[:1]):
            yield from places(entry, (*path, key))


def spoilt(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return None if odd is ABSENT else odd
    made = deepcopy(value)
    inner = made
    for key in path[:-1]:
        inner = inner[key]
    if odd is ABSENT:
        del inner[path[-1]]
    else:
        inner[path[-1]] = odd
    return made


@dataclass
class Endpoint:
    """Says `body`, whatever is asked."""

    model: PoolModel
    body: str = ""

    def answer(self, _: httpx.Request) -> httpx.Response:
        kind = "text/event-stream" if self.body.startswith("data:") else "application/json"
        return httpx.Response(200, headers={"content-type": kind}, content=self.body)

    @classmethod
    def of(cls, kind: Callable[..., BaseChatModel]) -> Endpoint:
        made: Endpoint
        chat = kind(
            model="odd",
            base_url="http://far.example/v1",
            api_key=SecretStr("none"),
            max_retries=0,
            use_responses_api=False,
            http_client=httpx.Client(transport=httpx.MockTransport(lambda request: made.answer(request))),
        )
        made = cls(PoolModel("model 'm'", chat, ReplyOptionReader(chat, "model 'm'")))
        return made


@pytest.fixture(scope="module", params=[partial(RemoteChat, place="model 'm'"), ChatOpenAI], ids=["pool's", "own"])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return Endpoint.of(request.param)


def _ask_for_a_text(model: PoolModel) -> None:
    reply = ask.reply(CallResult(ask.text(model, PROMPT, max_tokens=9).run({}), 0.1, 1), model.place)
    assert reply["text"].encode()
    assert all(0 <= reply[count] < 2**31 for count in ("prompt_tokens", "cached_tokens", "completion_tokens"))


def _ask_for_probabilities(model: PoolModel) -> None:
    (reading,) = ask.label_probabilities(model, [PROMPT], "AB").run({})
    assert 0 < sum(reading.probabilities) <= 1 + 1e-9


def _stream(model: PoolModel) -> None:
    for chunk in model.chat.stream(PROMPT):
        assert isinstance(chunk.text, str)


def _survives(asking: Callable[[PoolModel], None], model: PoolModel, place: tuple[Any, ...], odd: Any) -> None:
    try:
        asking(model)
    except Exception as error:
        if is_mistake(error):
            raise AssertionError(f"{place}: {odd!r}") from error


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: "absent" if odd is ABSENT else repr(odd)[:9])
def test_a_whole_reply_with_anything_in_it(endpoint: Endpoint, odd: Any) -> None:
    for path in places(WHOLE):
        endpoint.body = json.dumps(spoilt(WHOLE, path, odd))
        _survives(_ask_for_a_text, endpoint.model, path, odd)
        if "logprobs" in path:
            _survives(_ask_for_probabilities, endpoint.model, path, odd)


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: "absent" if odd is ABSENT else repr(odd)[:9])
def test_a_stream_with_anything_in_it(endpoint: Endpoint, odd: Any) -> None:
    for number, chunk in enumerate((CHUNK, LAST)):
        for path in places(chunk):
            chunks = [CHUNK, LAST]
            chunks[number] = spoilt(chunk, path, odd)
            events = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks)
            endpoint.body = f"{events}data: [DONE]\n\n"
            _survives(_stream, endpoint.model, (number, *path), odd)


@pytest.mark.parametrize("usage", [*({**USAGE, "prompt_tokens": odd} for odd in ("many", math.nan, -1, 1e30)), "many"])
def test_an_applications_own_model_that_meets_an_odd_count_ends_no_run(usage: Any) -> None:
    """Where its client stumbles over the count, one community is missing; else the count is not known."""
    odd = Endpoint.of(ChatOpenAI)
    odd.body = json.dumps({**WHOLE, "usage": usage})
    models = fake_models(always("Well."), ("north", "east"), north=odd.model.chat)
    events: list[Any] = []
    graph = build_overton(fake_pool(("north", "east"), quorum=1), models=models).compile()
    for kind, told in graph.stream({"question": "Why?"}, stream_mode=["values", "custom"]):
        events += [told] if kind == "custom" else []
        state: Any = told if kind == "values" else None
    north = state["comments"]["north"]
    assert state["answer"] == "Well."
    assert north["prompt_tokens"] == 0
    assert all((told["prompt_tokens"] or 0) < 2**31 for told in events)
    if usage == "many":
        assert state["missing"] == ["north"]
        assert "model 'north' failed: its reply could not be read (AttributeError: " in north["error"]
    else:
        assert (state["missing"], north["text"]) == ([], "A")


def test_a_mistake_in_an_applications_own_client_is_none_of_a_reply() -> None:
    class Mine(ChatOpenAI):
        def _create_chat_result(self, *args: Any, **settings: Any) -> Any:
            return super()._create_chat_result(*args, **settings).no_such_thing  # type: ignore[attr-defined]

    mine = Endpoint.of(Mine)
    mine.body = json.dumps(WHOLE)
    with pytest.raises(AttributeError) as caught:
        ask.text(mine.model, PROMPT).run({})
    assert is_mistake(caught.value)
