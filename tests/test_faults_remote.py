"""Six communities at six endpoints, one of which misbehaves: who is missing is said, and the quorum decides."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import pytest

from modular_pluralism.errors import ModelCallError, PluralismError, QuorumError
from modular_pluralism.graphs import build_distributional, build_overton
from modular_pluralism.models import calls
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Pool
from tests.fake_endpoint import Behaviour, FakeEndpoint, free_port

pytestmark = pytest.mark.faults

KEY = "sk-canary-0987654321fedcba"
NAMES = ("north", "east", "south", "west", "centre", "abroad")
BAD = "south"
How = Literal["invoke", "ainvoke", "astream"]
FAULTS: dict[str, str] = {
    "refuses": "it could not be reached",
    "hang": "did not answer within 3 seconds",
    "ends_early": "the reply broke off before its end",
    "broken_chunks": "the connection broke off",
    "garbage": "reply that could not be read|Unexpected response type|broke off before its end",
    "odd_error": "status 500: .*our mistake Bearer \\*\\*\\*",
}
"""A fault of one endpoint, and what is said of it."""


class Six:
    """A base LLM and six communities, each at an endpoint of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self.at = {name: stack.enter_context(FakeEndpoint().running()) for name in ("boss", *NAMES)}
        self.at["boss"].behave("boss", "logprobs")
        self.addresses = {name: endpoint.address for name, endpoint in self.at.items()}
        self.produced: list[str] = []

    def spoil(self, fault: str) -> None:
        if fault == "refuses":
            self.addresses[BAD] = f"http://127.0.0.1:{free_port()}/v1"
        else:
            script: tuple[Behaviour, ...] = ("slow_down", "slow_down", "ok") if fault == "slow_down" else (fault,)  # type: ignore[assignment]
            self.at[BAD].behave(BAD, *script)

    def pool(self, *, quorum: int, deadline: float) -> Pool:
        models = "".join(
            f'[models.{name}]\nopenai = "{name}"\nbase_url = "{address}"\napi_key_env = "SIX_KEY"\n'
            for name, address in self.addresses.items()
        )
        communities = "".join(f'[communities.{n}]\nmodel = "{n}"\ndescription = "The {n}"\n' for n in NAMES)
        run = f"[run]\nquorum = {quorum}\ndeadline = {deadline}\n"
        return Pool.from_toml(f'base = "boss"\n{models}{communities}{run}', source="six.toml", folder=Path())

    def ask(self, how: How, *, fault: str, quorum: int = 4, mode: str = "overton") -> dict[str, Any]:
        self.spoil(fault)
        pool = self.pool(quorum=quorum, deadline=3.0 if fault == "hang" else 60.0)
        asked = {"question": "Why?", "options": ["x", "y"]} if mode == "distributional" else {"question": "Why?"}
        graph = (build_distributional(pool) if mode == "distributional" else build_overton(pool)).compile()
        try:
            state = _run(graph, how, asked)
        except PluralismError as error:
            self.produced += traceback.format_exception(error)
            raise
        self.produced += [json.dumps(state), repr(pool)]
        return state


def _run(graph: Any, how: How, asked: dict[str, Any]) -> dict[str, Any]:
    async def streamed() -> dict[str, Any]:
        last: dict[str, Any] = {}
        async for namespace, mode, data in graph.astream(asked, stream_mode=["messages", "values"], subgraphs=True):
            last = data if mode == "values" and not namespace else last
        return last

    if how == "astream":
        return asyncio.run(streamed())
    state: dict[str, Any] = graph.invoke(asked) if how == "invoke" else asyncio.run(graph.ainvoke(asked))
    return state


@pytest.fixture
def six(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[Six]:
    """The six, and afterwards a look for the key in everything that came of them."""
    monkeypatch.setenv("SIX_KEY", KEY)
    monkeypatch.setattr(calls, "backoff", lambda tries: 0.01)
    caplog.set_level(logging.DEBUG)
    with ExitStack() as stack:
        six = Six(stack)
        yield six
        sent = {each.headers["authorization"] for endpoint in six.at.values() for each in endpoint.requests}
    assert sent == {f"Bearer {KEY}"}
    assert six.produced
    out, err = capfd.readouterr()
    for text in (*six.produced, caplog.text, out, err):
        assert "canary" not in text
        assert "\x1b" not in text


def _faults_with(*ways: How) -> list[Any]:
    """Every fault in every way, where half a stream needs one."""
    return [
        pytest.param(fault, how, id=f"{fault}-{how}")
        for fault in FAULTS
        for how in ways
        if fault != "ends_early" or how == "astream"
    ]


@pytest.mark.parametrize(("fault", "how"), _faults_with("invoke", "ainvoke", "astream"))
def test_five_of_six_are_enough_for_a_quorum_of_four(six: Six, fault: str, how: How) -> None:
    state = six.ask(how, fault=fault)
    assert state["answer"] == "The view of boss."
    assert state["missing"] == [BAD]
    spoilt = state["comments"][BAD]
    assert spoilt["text"] == ""
    assert spoilt["error"].startswith(f"model '{BAD}' ({BAD} at {six.addresses[BAD]}) ")
    _assert_told(fault, spoilt["error"])
    assert {name for name in NAMES if state["comments"][name]["text"] == f"The view of {name}."} == {*NAMES} - {BAD}


# What was said of the fault is the same from here on: a few of them stand for all.


@pytest.mark.parametrize(("fault", "how"), [("refuses", "invoke"), ("odd_error", "ainvoke"), ("ends_early", "astream")])
def test_five_of_six_make_a_distribution(six: Six, fault: str, how: How) -> None:
    state = six.ask(how, fault=fault, mode="distributional")
    assert state["missing"] == [BAD]
    assert set(state["distributions"]) == {*NAMES} - {BAD}
    assert sum(state["distribution"]) == pytest.approx(1)
    _assert_told(fault, state["comments"][BAD]["error"])


@pytest.mark.parametrize(
    ("fault", "mode", "how"),
    [
        ("refuses", "overton", "invoke"),
        ("odd_error", "overton", "ainvoke"),
        ("broken_chunks", "overton", "astream"),
        ("garbage", "distributional", "invoke"),
        ("ends_early", "distributional", "astream"),
    ],
)
def test_a_quorum_of_six_is_missed_and_the_error_says_by_whom(six: Six, fault: str, how: How, mode: str) -> None:
    with pytest.raises(QuorumError) as caught:
        six.ask(how, fault=fault, quorum=6, mode=mode)
    message = str(caught.value)
    assert message.startswith("5 of 6 communities answered, and the quorum is 6. ")
    assert f"{BAD}: model '{BAD}' ({BAD} at {six.addresses[BAD]}) " in message
    _assert_told(fault, message)


@pytest.mark.parametrize("mode", ["overton", "distributional"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke", "astream"])
def test_an_endpoint_that_is_too_busy_twice_is_not_missing(six: Six, how: How, mode: str) -> None:
    state = six.ask(how, fault="slow_down", quorum=6, mode=mode)
    assert state["missing"] == []
    assert state["comments"][BAD]["text"] == f"The view of {BAD}."
    assert state["comments"][BAD]["attempts"] == 3


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("fault", ["odd_error", "unauthorized"])
def test_a_base_llm_that_fails_is_named(six: Six, fault: Behaviour, how: How) -> None:
    six.at["boss"].behave("boss", fault)
    with pytest.raises(ModelCallError) as caught:
        six.ask(how, fault="ok", mode="overton")
    assert str(caught.value).startswith(f"model 'boss' (boss at {six.addresses['boss']}) failed")
    assert "Bearer ***" in str(caught.value)


def _assert_told(fault: str, text: str) -> None:
    assert re.search(FAULTS[fault], text), text
    assert "\n" not in text


# Text in replies is data


ODD: dict[Behaviour, str] = {
    "null": "gave an empty reply.",
    "tool_call": "called a tool instead of answering, though it was given none; use another model.",
    "refusal": "refused to answer: I will not do that.",
    "endless": "sent more than 8192 characters, where it was asked for at most 128 tokens; "
    "check that it obeys max_tokens.",
}


@pytest.mark.parametrize("how", ["invoke", "astream"])
@pytest.mark.parametrize("fault", ODD)
def test_a_reply_that_is_no_comment_is_told_as_what_it_is(six: Six, fault: Behaviour, how: How) -> None:
    state = six.ask(how, fault=fault)
    assert state["missing"] == [BAD]
    assert state["comments"][BAD]["error"] == f"model '{BAD}' ({BAD} at {six.addresses[BAD]}) {ODD[fault]}"
    assert len(six.at[BAD].requests) == 1, "asking again would not help"


@pytest.mark.parametrize("how", ["invoke", "astream"])
def test_a_number_is_no_comment(six: Six, how: How) -> None:
    state = six.ask(how, fault="number")
    assert state["missing"] == [BAD]
    assert state["comments"][BAD]["error"].startswith(f"model '{BAD}' ({BAD} at {six.addresses[BAD]}) ")
    assert len(state["comments"][BAD]["error"]) < 600


@pytest.mark.parametrize("how", ["invoke", "astream"])
def test_a_text_in_blocks_is_read(six: Six, how: How) -> None:
    state = six.ask(how, fault="blocks")
    assert state["missing"] == []
    assert state["comments"][BAD]["text"] == f"The view of {BAD}."


@pytest.mark.parametrize("how", ["invoke", "astream"])
def test_half_a_character_does_not_break_what_follows(six: Six, how: How) -> None:
    state = six.ask(how, fault="half_character")
    assert state["missing"] == []
    assert state["comments"][BAD]["text"] == f"The view of {BAD}. \ufffd"
    assert "\ufffd" in json.dumps(six.at["boss"].requests[0].body, ensure_ascii=False), "the base LLM was shown it"


def test_labels_of_half_a_reply_are_not_read(six: Six) -> None:
    six.at["boss"].behave("boss", "ends_early")
    with pytest.raises(QuorumError, match=r"model 'boss' .* failed: Unterminated string"):
        six.ask("astream", fault="ok", mode="distributional")


def test_models_show_no_key(six: Six) -> None:
    models = PoolModels(six.pool(quorum=4, deadline=10))
    six.produced += [repr(models.base()), str(models.base().chat), repr(models.community(BAD))]
    models.base().chat.invoke("Why?")
