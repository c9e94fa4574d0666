"""Remote models: pools that name an OpenAI-compatible endpoint, against a real one on this machine."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from modular_pluralism.errors import (
    DeadlineError,
    ModelCallError,
    ModelLoadError,
    NoLogProbabilitiesError,
    PluralismError,
    QuorumError,
)
from modular_pluralism.graphs import build_distributional, build_overton, build_steerable
from modular_pluralism.models import calls
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.models.redaction import KeylessText, keep_secret, keyless, redact
from modular_pluralism.models.remote_embeddings import checked
from modular_pluralism.pool import Pool
from tests.fake_endpoint import Behaviour, FakeEndpoint, free_port
from tests.fake_models import always

KEY = "sk-canary-1234567890abcdef"
PROMPT = [HumanMessage("Which one?")]


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint().running() as running:
        yield running


@pytest.fixture(autouse=True)
def _short_pauses_and_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "pause", lambda state: 0.01)
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "MY_KEY"):
        monkeypatch.delenv(name, raising=False)


def remote_pool(address: str, *, key: str = "", base: str = "boss", run: str = "deadline = 20.0") -> Pool:
    """A base LLM and three communities at one address."""
    names = ("boss", "north", "east", "south")
    keyed = f'api_key_env = "{key}"\n' if key else ""
    models = "".join(f'[models.{name}]\nopenai = "{name}"\nbase_url = "{address}"\n{keyed}' for name in names)
    communities = "".join(f'[communities.{n}]\nmodel = "{n}"\ndescription = "The {n}"\n' for n in names[1:])
    return Pool.from_toml(f'base = "{base}"\n{models}{communities}[run]\n{run}\n', source="far.toml", folder=Path())


def overton(pool: Pool, **models: Any) -> dict[str, Any]:
    result: dict[str, Any] = build_overton(pool, models=models).compile().invoke({"question": "Why?"})
    return result


def test_a_whole_run_over_an_endpoint(endpoint: FakeEndpoint) -> None:
    graph = build_overton(remote_pool(endpoint.address)).compile()
    result = graph.invoke({"question": "Why?", "seed": 3})
    assert result["answer"] == "The view of boss."
    assert {name: said["text"] for name, said in result["comments"].items()} == {
        name: f"The view of {name}." for name in ("north", "east", "south")
    }
    assert {**result["comments"]["east"], "seconds": 0} == {
        "community": "east",
        "text": "The view of east.",
        "error": None,
        "finish_reason": "stop",
        "prompt_tokens": 11,
        "cached_tokens": 0,
        "completion_tokens": 3,
        "seconds": 0,
        "attempts": 1,
    }
    assert result["missing"] == []
    (asked,) = endpoint.asked("east")
    assert asked.path == "/v1/chat/completions"
    assert asked.body["temperature"] == 0.7
    assert asked.body.get("max_completion_tokens", asked.body.get("max_tokens")) == 128
    assert "stream" not in asked.body or not asked.body["stream"]
    seeds = {each.body["seed"] for each in endpoint.requests}
    assert len(seeds) == 4
    assert max(seeds) < 2**31


def test_a_whole_run_is_streamed_where_the_application_streams(endpoint: FakeEndpoint) -> None:
    graph = build_overton(remote_pool(endpoint.address)).compile()
    said: dict[str, str] = {}
    for message, metadata in graph.stream({"question": "Why?"}, stream_mode="messages"):
        node = metadata["langgraph_node"]  # type: ignore[index]
        said[node] = said.get(node, "") + message.text  # type: ignore[union-attr]
    assert {name: text.strip() for name, text in said.items()} == {
        "north": "The view of north.",
        "east": "The view of east.",
        "south": "The view of south.",
        "merge": "The view of boss.",
    }
    assert all(each.body["stream"] for each in endpoint.requests)


async def test_usage_and_finish_reason_survive_streaming(endpoint: FakeEndpoint) -> None:
    graph = build_overton(remote_pool(endpoint.address)).compile()
    last: dict[str, Any] = {}
    async for mode, data in graph.astream({"question": "Why?"}, stream_mode=["messages", "values"]):
        last = data if mode == "values" and isinstance(data, dict) else last
    assert last["usage"]["completion_tokens"] == 3
    assert {said["finish_reason"] for said in last["comments"].values()} == {"stop"}


def test_one_graph_serves_one_event_loop_after_another(endpoint: FakeEndpoint) -> None:
    graph = build_overton(remote_pool(endpoint.address)).compile()
    for _ in range(3):
        result = asyncio.run(graph.ainvoke({"question": "Why?"}))
        assert result["missing"] == []
        assert result["usage"]["attempts"] == 1


def test_embedded_fake_and_remote_communities_mix(endpoint: FakeEndpoint) -> None:
    east = always("From my own model.")
    result = overton(remote_pool(endpoint.address), east=east, boss=always("Together."))
    assert result["answer"] == "Together."
    assert result["comments"]["east"]["text"] == "From my own model."
    assert result["comments"]["north"]["text"] == "The view of north."
    assert endpoint.asked("east") == []


# What an endpoint may do


@pytest.mark.parametrize(
    ("script", "attempts"),
    [(["slow_down", "slow_down", "ok"], 3), (["broken", "ok"], 2), (["cut", "ok"], 2)],
    ids=str,
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_passing_failure_is_got_over(
    endpoint: FakeEndpoint, script: list[Behaviour], attempts: int, streamed: bool
) -> None:
    endpoint.behave("east", *script)
    graph = build_overton(remote_pool(endpoint.address)).compile()
    if streamed:
        *_, result = (data for mode, data in graph.stream({"question": "Why?"}, stream_mode=["messages", "values"]))
    else:
        result = graph.invoke({"question": "Why?"})
    assert isinstance(result, dict)
    assert result["comments"]["east"]["text"] == "The view of east."
    assert result["comments"]["east"]["attempts"] == attempts == len(endpoint.asked("east"))


def test_a_stream_that_just_ends_is_not_taken_for_a_whole_reply(endpoint: FakeEndpoint) -> None:
    endpoint.behave("east", "ends_early", "ok")
    endpoint.behave("south", "ends_early")
    graph = build_overton(remote_pool(endpoint.address)).compile()
    *_, result = (data for mode, data in graph.stream({"question": "Why?"}, stream_mode=["messages", "values"]))
    assert isinstance(result, dict)
    assert result["comments"]["east"]["text"] == "The view of east."
    assert result["missing"] == ["south"]
    assert result["comments"]["south"]["error"].endswith("failed after 3 attempts: the reply broke off before its end.")


@pytest.mark.parametrize(
    ("behaviour", "said", "tries"),
    [
        ("broken", "failed after 3 attempts: status 500: our mistake.", 3),
        ("slow_down", "failed after 3 attempts: status 429: slow down.", 3),
        ("bad_request", "failed: status 400: a message is too odd.", 1),
        ("not_found", "failed: status 404: no such model; check base_url and the model's name.", 1),
        (
            "cut",
            "failed after 3 attempts: the connection broke off; check that the server runs and that base_url is right.",
            3,
        ),
        ("empty", "gave an empty reply.", 1),
    ],
)
def test_a_lasting_failure_of_one_community_is_told_in_one_sentence(
    endpoint: FakeEndpoint, behaviour: Behaviour, said: str, tries: int
) -> None:
    endpoint.behave("east", behaviour)
    result = overton(remote_pool(endpoint.address))
    assert result["missing"] == ["east"]
    assert result["answer"] == "The view of boss."
    assert result["comments"]["east"]["error"] == f"model 'east' (east at {endpoint.address}) {said}"
    assert len(endpoint.asked("east")) == tries


@pytest.mark.parametrize("behaviour", ["garbage", "garbage_json", "no_choices"])
@pytest.mark.parametrize("streamed", [False, True])
def test_garbage_is_an_error_and_not_a_comment(endpoint: FakeEndpoint, behaviour: Behaviour, streamed: bool) -> None:
    endpoint.behave("east", behaviour)
    graph = build_overton(remote_pool(endpoint.address)).compile()
    if streamed:
        *_, result = (data for mode, data in graph.stream({"question": "Why?"}, stream_mode=["messages", "values"]))
    else:
        result = graph.invoke({"question": "Why?"})
    assert isinstance(result, dict)
    assert result["missing"] == ["east"]
    error = result["comments"]["east"]["error"]
    assert error.startswith(f"model 'east' (east at {endpoint.address}) ")
    assert "\n" not in error
    assert error.endswith(".")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_hanging_endpoint_costs_no_more_than_the_deadline(endpoint: FakeEndpoint, asynchronous: bool) -> None:
    endpoint.behave("east", "hang")
    graph = build_overton(remote_pool(endpoint.address, run="deadline = 1.0")).compile()
    result = asyncio.run(graph.ainvoke({"question": "Why?"})) if asynchronous else graph.invoke({"question": "Why?"})
    assert result["missing"] == ["east"]
    assert "did not answer within 1 seconds" in result["comments"]["east"]["error"]


def test_a_hanging_base_llm_is_an_error(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "hang")
    with pytest.raises(DeadlineError, match=r"^model 'boss' \(boss at http://127\.0\.0\.1:\d+/v1\) did not answer"):
        overton(remote_pool(endpoint.address, run="deadline = 1.0"))


def test_an_endpoint_that_is_down_is_named_with_the_mend() -> None:
    address = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(ModelCallError) as caught:
        overton(remote_pool(address), **{name: always("Yes.") for name in ("north", "east", "south")})
    assert str(caught.value) == (
        f"model 'boss' (boss at {address}) failed after 3 attempts: it could not be reached; check that the server "
        "runs and that base_url is right."
    )


def test_a_whole_pool_that_is_down_names_everybody() -> None:
    address = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(QuorumError) as caught:
        overton(remote_pool(address, run="attempts = 1"))
    message = str(caught.value)
    assert message.startswith("0 of 3 communities answered, and the quorum is 2.")
    for name in ("north", "east", "south"):
        assert f"{name}: model '{name}' ({name} at {address}) failed: it could not be reached;" in message


# Option probabilities


def test_labels_are_read_from_top_logprobs_over_their_spellings(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "logprobs")
    reader = PoolModels(remote_pool(endpoint.address)).base().reader
    (read,) = reader.read_labels([PROMPT], "ABC", {})
    assert read.probabilities == pytest.approx((0.6, 0.2, 0.0))
    assert read.unread == (2,)
    (asked,) = endpoint.asked("boss")
    assert (asked.body["logprobs"], asked.body["top_logprobs"], asked.body["temperature"]) == (True, 20, 0)
    assert asyncio.run(reader.aread_labels([PROMPT, PROMPT], "ABC", {})) == [read, read]


def test_labels_that_are_not_among_the_likeliest_are_an_error(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "logprobs")
    reader = PoolModels(remote_pool(endpoint.address)).base().reader
    with pytest.raises(ModelCallError, match="put none of the labels among its 5 likeliest replies"):
        reader.read_labels([PROMPT], "XYZ", {})


@pytest.mark.parametrize("behaviour", ["ok", "refuses_logprobs"])
def test_an_endpoint_without_logprobs_is_recognised(endpoint: FakeEndpoint, behaviour: Behaviour) -> None:
    endpoint.behave("boss", behaviour)
    reader = PoolModels(remote_pool(endpoint.address)).base().reader
    with pytest.raises(NoLogProbabilitiesError, match="does not offer log-probabilities"):
        reader.read_labels([PROMPT], "AB", {})
    with pytest.raises(NoLogProbabilitiesError, match="does not offer log-probabilities"):
        asyncio.run(reader.aread_labels([PROMPT], "AB", {}))


def test_another_bad_request_is_not_mistaken_for_missing_logprobs(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "bad_request")
    with pytest.raises(QuorumError, match="status 400: a message is too odd"):
        build_distributional(remote_pool(endpoint.address)).compile().invoke({"question": "?", "options": ["x", "y"]})


@pytest.mark.parametrize("streamed", [False, True])
def test_a_distribution_over_an_endpoint(endpoint: FakeEndpoint, streamed: bool) -> None:
    endpoint.behave("boss", "logprobs")
    graph = build_distributional(remote_pool(endpoint.address), scoring="label").compile()
    asked: Any = {"question": "Why?", "options": ["x", "y", "z"]}
    nodes = set()
    result: Any = None
    data: Any
    if streamed:
        for _, mode, data in graph.stream(asked, stream_mode=["messages", "values"], subgraphs=True):
            if mode == "messages":
                nodes.add(data[1]["langgraph_node"])
            else:
                result = data
        assert nodes == {"north", "east", "south"}, "labels are nothing to read"
    else:
        result = graph.invoke(asked)
    assert result["distribution"] == pytest.approx([0.75, 0.25, 0])
    assert result["label_mass"] == pytest.approx(0.8)
    assert result["distributions"]["east"]["unread"] == ["z"]
    assert result["distributions"]["east"]["samples"] is None


def test_selecting_over_an_endpoint(endpoint: FakeEndpoint) -> None:
    endpoint.behave("boss", "logprobs")
    graph = build_steerable(remote_pool(endpoint.address)).compile()
    selected = graph.invoke({"question": "Why?", "attribute": "thrift"})["selected"]
    assert selected["community"] == "east"
    assert selected["probabilities"] == pytest.approx({"north": 1 / 3, "east": 2 / 3, "south": 0})


def test_scoring_of_texts_is_refused_with_the_way_out(endpoint: FakeEndpoint) -> None:
    graph = build_distributional(remote_pool(endpoint.address), scoring="text").compile()
    with pytest.raises(PluralismError) as caught:
        graph.invoke({"question": "Why?", "options": ["x", "y"]})
    assert str(caught.value) == (
        f"model 'boss' (boss at {endpoint.address}) cannot score given texts, since chat endpoints do not report "
        "their log-probabilities; use label or rotate scoring, or an embedded model."
    )


# Keys


def test_the_key_is_sent_to_its_endpoint(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")
    overton(remote_pool(endpoint.address, key="MY_KEY"))
    assert {each.headers["authorization"] for each in endpoint.requests} == {f"Bearer {KEY}"}


def test_no_key_goes_to_an_endpoint_that_asks_for_none(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    overton(remote_pool(endpoint.address))
    assert len(endpoint.requests) == 4
    assert KEY not in json.dumps([each._asdict() for each in endpoint.requests])


@pytest.mark.parametrize("value", [None, "", "  \n"])
def test_a_key_that_is_not_set_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(ModelLoadError) as caught:
        overton(remote_pool("http://127.0.0.1:9/v1", key="MY_KEY"))
    assert str(caught.value) in {
        f"[models.{name}] needs an API key in the environment variable MY_KEY, which is not set; run "
        "`export MY_KEY=...` first."
        for name in ("north", "east", "south")
    }


def test_openai_itself_wants_its_usual_variable() -> None:
    text = 'base = "m"\n[models.m]\nopenai = "gpt-x"\n[communities.c]\nmodel = "m"\ndescription = "C"\n'
    pool = Pool.from_toml(text, source="far.toml", folder=Path())
    with pytest.raises(ModelLoadError, match="variable OPENAI_API_KEY, which is not set"):
        PoolModels(pool).check()


@pytest.mark.parametrize("key", ["“sk-canary-quoted”", "sk-canary\nsecond line"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(ModelLoadError, match="holds characters that no key has") as caught:
        PoolModels(remote_pool("http://127.0.0.1:9/v1", key="MY_KEY")).check()
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_key_that_the_endpoint_echoes_is_seen_nowhere(
    endpoint: FakeEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    asynchronous: bool,
    streamed: bool,
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    endpoint.behave("east", "unauthorized")
    endpoint.behave("boss", "unauthorized")
    graph = build_overton(remote_pool(endpoint.address, key="MY_KEY")).compile()
    events: list[Any] = []
    modes: Any = ["messages", "updates", "values"] if streamed else ["updates", "values"]

    async def run() -> None:
        async for event in graph.astream({"question": "Why?"}, stream_mode=modes):
            events.append(event)

    with pytest.raises(ModelCallError) as caught:  # noqa: PT012
        if asynchronous:
            asyncio.run(run())
        else:
            events.extend(graph.stream({"question": "Why?"}, stream_mode=modes))
    assert "status 401: Incorrect API key provided: Bearer ***; check the API key." in str(caught.value)
    assert "Bearer ***" in repr(events)
    shown = "".join(traceback.format_exception(caught.value))
    for text in (str(caught.value), shown, repr(events), caplog.text):
        assert "canary" not in text


def test_the_state_and_the_models_hold_no_key(endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    pool = remote_pool(endpoint.address, key="MY_KEY")
    models = PoolModels(pool)
    result = build_overton(pool, models=models).compile().invoke({"question": "Why?"})
    for text in (json.dumps(result), repr(pool), repr(models.base()), str(models.base().chat)):
        assert "canary" not in text


def test_a_password_in_the_address_is_not_shown() -> None:
    port = free_port()
    pool = remote_pool(f"http://me:canary%21word@127.0.0.1:{port}/v1", run="attempts = 1")
    with pytest.raises(QuorumError) as caught:
        overton(pool)
    message = str(caught.value)
    assert f"(east at http://127.0.0.1:{port}/v1) failed: it could not be reached" in message
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_a_password_in_the_address_is_sent_and_not_shown(
    endpoint: FakeEndpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    pool = remote_pool(endpoint.address.replace("://", "://me:canary%21word@"))
    models = PoolModels(pool)
    models.base().chat.invoke("Which one?")
    asyncio.run(PoolModels(pool).base().chat.ainvoke("Which one?"))
    assert [each.headers["authorization"] for each in endpoint.requests] == ["Basic bWU6Y2FuYXJ5IXdvcmQ="] * 2
    assert "canary" not in caplog.text + repr(models.base()) + repr(pool)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_try_that_hangs_leaves_time_for_another(endpoint: FakeEndpoint, asynchronous: bool) -> None:
    endpoint.behave("east", "hang", "ok")
    pool = remote_pool(endpoint.address)
    models = {name: config.model_copy(update={"try_seconds": 0.5}) for name, config in pool.models.items()}
    graph = build_overton(pool.model_copy(update={"models": models})).compile()
    asked: Any = {"question": "Why?"}
    state = asyncio.run(graph.ainvoke(asked)) if asynchronous else graph.invoke(asked)
    assert state["missing"] == []
    assert state["comments"]["east"]["attempts"] == 2


def test_an_ipv6_address_keeps_its_brackets() -> None:
    assert PoolModels(remote_pool("http://[::1]:8080/v1")).base().place == "model 'boss' (boss at http://[::1]:8080/v1)"


def test_a_model_that_the_pool_does_not_name_is_refused() -> None:
    with pytest.raises(ModelLoadError, match=r"no \[models\.other\]; it has boss, north, east, south\."):
        PoolModels(remote_pool("http://127.0.0.1:9/v1"), {"other": always("x")})


def test_a_model_is_opened_once(endpoint: FakeEndpoint) -> None:
    models = PoolModels(remote_pool(endpoint.address))
    assert models.base() is models.base()
    assert models.community("east") is models.community("east")
    assert models.community("east") is not models.community("north")


def test_texts_from_elsewhere_are_shown_without_what_a_terminal_obeys() -> None:
    keep_secret("canary-key-1")
    assert (
        redact("\x1b[31mred\x07 \u202etxet\u200b \ud800 canary-key-1\r\n\tok é 你好")
        == "[31mred txet  ***\r\n\tok é 你好"
    )
    assert redact("an ordinary sentence") == "an ordinary sentence"


# -- an endpoint that says the key that it was sent --------------------------------------------------------------------

HIDDEN = "You sent Bearer *** as"
TOOL = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}


async def test_a_key_that_an_endpoint_says_reaches_no_state(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    endpoint.behave("*", "echo")
    pool = remote_pool(endpoint.address, key="MY_KEY")
    graph = build_overton(pool).compile()
    state = graph.invoke({"question": "Why?", "tools": [TOOL]})
    assert KEY not in json.dumps(state)
    assert state["comments"]["north"]["text"] == HIDDEN
    assert state["comments"]["north"]["reasoning"] == "Hm, Bearer ***"
    assert json.loads(state["tool_calls"][0]["function"]["arguments"]) == {"sent": "Bearer ***"}
    told: list[Any] = [part async for part in graph.astream({"question": "Why?"}, stream_mode=["messages", "values"])]
    assert KEY not in repr(told)
    said = "".join(str(data[0].text) for kind, data in told if kind == "messages" and data[1]["mode"] == "overton")
    assert said.count("***") == 4
    assert not any(part in said for part in (KEY[:5], KEY[-5:]))


@pytest.mark.parametrize("tools", [False, True])
async def test_a_key_in_the_parts_of_a_stream_is_taken_out(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch, tools: bool
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    endpoint.behave("*", "echo")
    base = PoolModels(remote_pool(endpoint.address, key="MY_KEY")).base()
    chat: Any = base.with_tools([TOOL], None) if tools else base.chat
    parts = [part async for part in chat.astream(PROMPT)]
    whole = sum(parts[1:], parts[0])
    assert str(whole.text) == HIDDEN
    assert whole.additional_kwargs["reasoning_content"] == "Hm, Bearer ***"
    assert [call["args"] for call in whole.tool_calls] == [{"sent": "Bearer ***"}] * tools
    told = repr(parts)
    assert not any(part in told for part in (KEY, KEY[:5], KEY[5:10], KEY[-5:]))


def test_a_text_in_pieces_loses_keys_and_nothing_else() -> None:
    keep_secret("sk-pieces-0123456789")
    for size in range(1, 30):
        text, whole = KeylessText(), "as sk-pieces-0123456789sk-pieces-01 is sk-pieces-0123456789, sk-pi"
        pieces = [text.passed(whole[at : at + size]) for at in range(0, len(whole), size)]
        assert "".join(pieces) + text.ended() == "as ***sk-pieces-01 is ***, sk-pi"


def test_a_secret_that_no_endpoint_is_sent_is_looked_for_in_errors_alone() -> None:
    keep_secret("sk-of-a-client-0123456789", sent=False)
    assert keyless("sk-of-a-client-0123456789") == "sk-of-a-client-0123456789"
    assert redact("sk-of-a-client-0123456789") == "***"


def test_a_secret_that_is_an_ordinary_word_stays_in_what_models_write() -> None:
    for word in ("EMPTY", "not-needed"):
        keep_secret(word)
        assert keyless({"text": f"It is {word}."}) == {"text": f"It is {word}."}
        assert redact(f"It is {word}.") == "It is ***."


# -- a reply that nests deeply ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["invoke", "stream"])
def test_a_reply_that_nests_deeply_is_a_failed_call(endpoint: FakeEndpoint, mode: str) -> None:
    endpoint.behave("*", "deep_json")
    graph = build_overton(remote_pool(endpoint.address, run="attempts = 1")).compile()
    with pytest.raises(QuorumError) as caught:
        list(graph.stream({"question": "Why?"}, stream_mode="messages")) if mode == "stream" else graph.invoke(
            {"question": "Why?"}
        )
    assert "could not be read" in str(caught.value)
    assert "\n" not in str(caught.value)


# -- vectors of texts --------------------------------------------------------------------------------------------------


async def test_vectors_come_from_the_endpoint_with_the_pools_retries(
    endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    models = PoolModels(remote_pool(endpoint.address, key="MY_KEY"))
    embeddings = models.embeddings("north")
    endpoint.behave("north", "slow_down", "broken", "ok")
    assert await embeddings.aembed_documents(["Rain", "Music"]) == [[4, 0, 0], [5, 0, 0]]
    assert models.embeddings("east").embed_query("Tea") == [3, 0, 0]
    sent = endpoint.asked("north")
    assert len(sent) == 3
    assert (sent[0].path, sent[0].headers["authorization"]) == ("/v1/embeddings", f"Bearer {KEY}")
    assert sent[0].body == {"input": ["Rain", "Music"], "model": "north", "encoding_format": "float"}
    assert await asyncio.to_thread(lambda: asyncio.run(embeddings.aembed_query("Tea"))) == [3, 0, 0]
    assert await asyncio.to_thread(lambda: asyncio.run(embeddings.aembed_query("Rain"))) == [4, 0, 0], "after a loop"
    texts = ["x"] * 1500
    assert len(embeddings.embed_documents(texts)) == 1500
    assert [len(each.body["input"]) for each in endpoint.asked("north")[5:]] == [1000, 500]


@pytest.mark.parametrize(
    "behaviour", ["bad_request", "garbage", "garbage_json", "deep_json", "no_choices", "null", "cut", "broken"]
)
def test_a_reply_without_vectors_is_an_error(endpoint: FakeEndpoint, behaviour: Behaviour) -> None:
    embeddings = PoolModels(remote_pool(endpoint.address, run="attempts = 1")).embeddings("north")
    endpoint.behave("north", behaviour)
    with pytest.raises(ModelCallError) as caught:
        embeddings.embed_query("Rain")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [10**400, float("nan"), float("inf"), True, "1", None])
def test_what_is_no_finite_number_is_in_no_vector(number: Any) -> None:
    with pytest.raises(ModelCallError, match="does not hold a vector for each text"):
        checked([[1.0, number]], 1)


def test_what_answers_in_a_models_place_gives_no_vectors(endpoint: FakeEndpoint) -> None:
    models = PoolModels(remote_pool(endpoint.address), {"north": always("Mine.")})
    with pytest.raises(
        ModelLoadError, match=r"What is given for \[models\.north\] answers, and gives no vectors; name"
    ):
        models.embeddings("north")
    with pytest.raises(ModelLoadError, match=r"The pool has no \[models\.nobody\]; it has boss, north, east, south"):
        models.embeddings("nobody")
