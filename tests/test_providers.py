"""Every family of endpoints, as strict as its reference says: what is learnt of it, and what arrives."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage, HumanMessage

from modular_pluralism.errors import ModelCallError, ModelLoadError, NoLogProbabilitiesError, PoolError
from modular_pluralism.graphs import build_distributional, build_overton
from modular_pluralism.llama.thinking import ThoughtSplitter
from modular_pluralism.models import calls, remote_terms
from modular_pluralism.models.calls import Caller, describe
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.models.refusals import reason, refused_setting
from modular_pluralism.models.remote_terms import forget_terms
from modular_pluralism.models.reply_parts import checked_usage, split_thoughts
from modular_pluralism.nodes import ask
from modular_pluralism.pool import Pool, RemoteModel
from tests.provider_endpoints import FAMILIES, Providers, top_logprobs

PROMPT: list[BaseMessage] = [HumanMessage("Which one?")]
TABLE = Path(__file__).parent.parent / "docs" / "providers.md"


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    with Providers().running() as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_learnt(monkeypatch: pytest.MonkeyPatch, providers: Providers) -> None:
    forget_terms()
    providers.bodies.clear()
    providers.headers.clear()
    monkeypatch.setattr(calls, "pause", lambda state: 0.01)


def pool_at(providers: Providers, model: str, more: str = "") -> Pool:
    text = (
        f'base = "m"\n[models.m]\nopenai = "{model}"\nbase_url = "{providers.address}"\n{more}\n'
        '[communities.c]\nmodel = "m"\ndescription = "C"\n'
    )
    return Pool.from_toml(text, source="far.toml", folder=Path())


def model_at(providers: Providers, model: str, more: str = "") -> PoolModel:
    return PoolModels(pool_at(providers, model, more)).base()


def said(model: PoolModel, tokens: int = 60, **settings: Any) -> Any:
    return Caller(attempts=1).call(ask.text(model, PROMPT, max_tokens=tokens, **settings), {}).value


# The table of docs/providers.md


def _rows() -> dict[str, list[str]]:
    rows = [line.strip("|").split("|") for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows}


def test_the_table_has_every_family_and_no_other() -> None:
    assert list(_rows()) == list(FAMILIES)


def test_a_model_elsewhere_that_wants_the_new_name_of_the_limit_is_sent_it(providers: Providers) -> None:
    said(model_at(providers, "openai-reasoning"))
    assert "max_tokens" in providers.bodies[0]
    assert "max_tokens" not in providers.bodies[-1]
    assert "max_completion_tokens" in providers.bodies[-1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_says_what_happens(
    family: str, providers: Providers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if family.startswith("openai"):  # as if it stood where OpenAI's stand
        usual = remote_terms._usual_limit(None)
        monkeypatch.setattr(remote_terms, "_usual_limit", lambda address: usual)
    caplog.set_level(logging.WARNING, logger="modular_pluralism")
    limit, left_out, _, reasoning = _rows()[family][:4]
    model = model_at(providers, family)
    message = said(model, seed=7)
    assert message.text.startswith("word0 word1")
    assert len(message.text.split()) <= 60, "it has obeyed the limit"
    if reasoning in ("kept apart",):
        assert message.additional_kwargs["reasoning_content"].startswith("Let me think.")
    assert "think" not in message.text
    last = providers.asked(family)[-1]
    sent = {"temperature", "top_p", "seed"} & set(last)
    gone = {"temperature", "top_p", "seed"} - sent
    # A stream asks for its usage, which some refuse, too.
    streamed = "".join(chunk.text for chunk in model.chat.stream(PROMPT, max_tokens=60))
    assert streamed == message.text
    if "stream_options" not in providers.asked(family)[-1]:
        gone.add("stream_options")
    assert (", ".join(f"`{name}`" for name in sorted(gone)) or "nothing") == left_out
    assert f"`{next(name for name in ('max_tokens', 'max_completion_tokens') if name in last)}`" == limit
    for name in gone:
        told = [each for each in caplog.messages if f"refuses {name} (" in each]
        assert len(told) == 1, "once a model, whatever was asked since"
    before = len(providers.asked(family))
    asyncio.run(model.chat.ainvoke(PROMPT, max_tokens=60))
    assert len(providers.asked(family)) == before + 1, "nothing is asked twice that is known"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_says_how_options_are_read(family: str, providers: Providers) -> None:
    expected = _rows()[family][2]
    model = model_at(providers, family)
    if expected.startswith("samples"):
        with pytest.raises(NoLogProbabilitiesError):
            Caller().call(ask.label_probabilities(model, [PROMPT], "AB"), {})
        if FAMILIES[family].most_logprobs:
            before = len(providers.asked(family))
            with pytest.raises(NoLogProbabilitiesError):
                Caller().call(ask.label_probabilities(model, [PROMPT], "AB"), {})
            assert len(providers.asked(family)) == before, "a refusal is remembered"
    else:
        reading = Caller().call(ask.label_probabilities(model, [PROMPT], "AB"), {}).value[0]
        assert reading.probabilities == pytest.approx((0.6, 0.2))
        assert f"{providers.asked(family)[-1]['top_logprobs']} alternatives" == expected


# Refusals


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "logprobs are not supported by this model"}}),
        (403, {"error": {"message": "You are not allowed to request logprobs from this model"}}),
        (501, {"error": "Logprobs not implemented"}),
        (400, {"error": {"message": "Logprobs is not enabled for models/x", "code": 400}}),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "logprobs"], "msg": "Extra inputs"}]}),
        (422, {"detail": "log probabilities are not offered"}),
        (400, "logprobs unsupported"),
        (400, json.dumps("Log-probabilities are not available")),
        (400, {"object": "error", "message": '{"detail": "top_logprobs: not permitted"}'}),
    ],
)
def test_refused_log_probabilities_are_recognised_however_they_are_told(
    providers: Providers, status: int, body: object
) -> None:
    model = model_at(providers, providers.gives("refuser", body, status=status))
    with pytest.raises(NoLogProbabilitiesError):
        Caller(attempts=1).call(ask.label_probabilities(model, [PROMPT], "AB"), {})


class _ToldError(Exception):
    def __init__(self, status: int, body: object) -> None:
        self.status_code, self.body = status, body
        super().__init__(str(body))


@pytest.mark.parametrize(
    ("message", "setting"),
    [
        ("'max_tokens' or 'max_completion_tokens' is too large: 5000 exceeds the context of 4096", None),
        ("temperature must be at most 2", None),
        ("The seed must be a 32-bit integer", None),
        ("`temperature` is deprecated for this model.", "temperature"),
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "top_p"),
        ("Unrecognized request argument supplied: seed", "seed"),
        ("a message is too odd", None),
    ],
)
def test_a_value_that_is_wrong_is_not_taken_for_a_setting_that_is_unknown(message: str, setting: str | None) -> None:
    assert refused_setting(_ToldError(400, {"message": message})) == setting
    assert refused_setting(_ToldError(401, {"message": message})) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "a b"}, "a b"),
        ({"detail": "a b"}, "a b"),
        ({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs"}]}, "seed: Extra inputs"),
        ({"error": {"message": {"detail": ["a", "b"]}}}, "a; b"),
        ('{"error": "a b"}', "a b"),
        ("a b", "a b"),
        ("<html><head><title>502 Bad&amp;Gateway</title></head><body>x</body></html>", "502 Bad&Gateway"),
        ("<body><script>no()</script><h1>Down</h1> for now</body>", "Down for now"),
        ({"odd": 1}, ""),
        (None, ""),
        ([[[[[[[[[["deep"]]]]]]]]]], ""),
    ],
)
def test_the_reason_is_found_in_any_shape(body: object, said: str) -> None:
    assert reason(body) == said


@pytest.mark.parametrize("body", [{"detail": "No credit"}, {"message": "No credit"}, "No credit", '"No credit"'])
def test_the_providers_reason_arrives(providers: Providers, body: object) -> None:
    model = model_at(providers, providers.gives("poor", body, status=402))
    with pytest.raises(ModelCallError, match=r"failed: status 402: No credit\.$"):
        said(model)


# Log-probabilities


def _logprobs(*entries: Any) -> Any:
    top = [{"token": token, "logprob": logprob} for token, logprob in entries]
    return {"content": [{**top[0], "top_logprobs": top}]}


def _whole(**choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "A"}
    return {"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        (_logprobs(("A", -0.02), ("B", -4.6), ("A", -5.5), ("B", -6)), (0.98428, 0.01253)),
        (_logprobs(("A", -0.5), ("B", None), ("B", -math.inf), ("B", "x")), (0.60653, 0)),
        (_logprobs(("A", 1e-6), ("B", -9999.0)), (1, 0)),
        ({"content": [{"token": "A", "logprob": -1.0, "top_logprobs": None}]}, (math.exp(-1), 0)),
        ({"content": [{"token": "A", "logprob": -1.0, "top_logprobs": [None, 3, {"token": "B"}]}]}, (math.exp(-1), 0)),
    ],
)
def test_odd_log_probabilities_are_read_for_what_they_are_worth(
    providers: Providers, logprobs: Any, expected: tuple[float, float]
) -> None:
    body = json.dumps(_whole(logprobs=logprobs))
    model = model_at(providers, providers.gives("odd", body))
    (reading,) = Caller().call(ask.label_probabilities(model, [PROMPT], "AB"), {}).value
    assert reading.probabilities == pytest.approx(expected, abs=1e-4)
    assert sum(reading.probabilities) <= 1


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([("A", -0.1), (" A", -0.1), ("B", -3)], "together"),
        ([("A", 0.0), ("B", 0.0)], "together"),
        ([("A", -0.5), ("B", 2.5)], "'B' has 2.5"),
        ([("A", -0.5), ("B", math.nan)], "'B' has nan"),
        ([("A", -0.5), ("B", math.inf)], "'B' has inf"),
        ([("A", -0.5), ("B", -(10**400))], "'B' has -1000"),
    ],
)
def test_log_probabilities_that_cannot_be_true_are_no_reading(
    providers: Providers, entries: list[tuple[str, float]], said: str
) -> None:
    model = model_at(providers, providers.gives("odd", json.dumps(_whole(logprobs=_logprobs(*entries)))))
    with pytest.raises(ModelCallError, match=f"log-probabilities that cannot be true.*{said}"):
        Caller(attempts=1).call(ask.label_probabilities(model, [PROMPT], "AB"), {})


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, {"content": [3]}, "none"])
def test_log_probabilities_without_a_number_are_none(providers: Providers, logprobs: Any) -> None:
    model = model_at(providers, providers.gives("none", _whole(logprobs=logprobs)))
    with pytest.raises(NoLogProbabilitiesError):
        Caller(attempts=1).call(ask.label_probabilities(model, [PROMPT], "AB"), {})


def test_options_are_read_in_whole_replies_whoever_listens(providers: Providers) -> None:
    graph = build_distributional(pool_at(providers, "vllm"), scoring="label").compile()
    for _ in graph.stream({"question": "Which?", "options": ["Yes", "No"]}, stream_mode="messages"):
        pass
    assert [body["stream"] for body in providers.bodies if body.get("logprobs")] == [False, False]
    assert any(body["stream"] for body in providers.bodies)


# Replies


@pytest.mark.parametrize("count", ["many", math.nan, -1, 1e30, None, [], {"a": 1}])
def test_an_odd_count_of_tokens_costs_no_reply(providers: Providers, count: Any) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 3, "total_tokens": 9}
    model = model_at(providers, providers.gives("counts", json.dumps({**_whole(), "usage": usage})))
    outcome = Caller(attempts=1).call(ask.text(model, PROMPT, max_tokens=9), {})
    reply = ask.reply(outcome, model.place)
    assert (reply["text"], reply["prompt_tokens"]) == ("A", 0)


def test_counts_are_kept_where_they_can_be_true() -> None:
    assert checked_usage({"prompt_tokens": 3.0, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": -1}})
    assert checked_usage("many") is None


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ({"error": {"message": "Overloaded", "code": 529}}, "status 529: Overloaded"),
        ({"error": "No credit"}, "No credit"),
        ({"choices": None, "message": "Busy"}, "Busy"),
        ({"choices": [None]}, "no choices"),
        ({"choices": [{"message": None}]}, "no choices"),
        ([], "could not be read"),
    ],
)
def test_an_error_in_the_place_of_a_reply_is_told(providers: Providers, body: object, match: str) -> None:
    model = model_at(providers, providers.gives("error", body))
    with pytest.raises(ModelCallError, match=match):
        said(model)


_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("message", "match"),
    [
        ({"content": 42}, "what stands for its text is none"),
        ({"content": {"text": "A"}}, "what stands for its text is none"),
        ({"content": None, "tool_calls": [_CALL]}, "called a tool instead of answering"),
        ({"content": None, "function_call": _CALL["function"]}, "called a tool instead of answering"),
        ({"content": "A", "tool_calls": "f"}, "it calls a tool, in a form that is not OpenAI's"),
        ({"content": "A", "tool_calls": [None]}, "it calls a tool, in a form that is not OpenAI's"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_reply_of_another_kind_is_told(
    providers: Providers, message: dict[str, Any], match: str, streamed: bool
) -> None:
    whole = _whole(message=message)
    choice = {"index": 0, "delta": message, "finish_reason": "stop"}
    events = f"data: {json.dumps({**whole, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"
    kind = "text/event-stream" if streamed else "application/json"
    model = model_at(providers, providers.gives("kind", events if streamed else whole, kind=kind))
    with pytest.raises(Exception, match=match):
        list(model.chat.stream(PROMPT)) if streamed else said(model)


@pytest.mark.parametrize("delta", ["A", [1]])
def test_a_stream_of_something_else_is_told(providers: Providers, delta: object) -> None:
    choices = [{"index": 0, "delta": delta, "finish_reason": "stop"}]
    events = f"data: {json.dumps({**_whole(), 'choices': choices})}\n\n"
    model = model_at(providers, providers.gives("else", events, kind="text/event-stream"))
    with pytest.raises(ModelCallError, match="a part of it holds no choices"):
        list(model.chat.stream(PROMPT))


def test_a_text_in_blocks_is_their_text(providers: Providers) -> None:
    blocks = [{"type": "text", "text": "A"}, " b", {"type": "image_url", "image_url": {}}, {"type": "text"}, None]
    model = model_at(providers, providers.gives("blocks", _whole(message={"content": blocks})))
    assert said(model).content == "A b"


def test_an_error_in_a_stream_is_told(providers: Providers) -> None:
    events = 'data: {"error": {"message": "Overloaded", "code": 529}}\n\n'
    model = model_at(providers, providers.gives("stream", events, kind="text/event-stream"))
    with pytest.raises(Exception, match="Overloaded") as caught:
        list(model.chat.stream(PROMPT))
    assert "Overloaded" in describe(caught.value)


def test_a_whole_reply_needs_no_finish_reason(providers: Providers) -> None:
    model = model_at(providers, providers.gives("endless", _whole(finish_reason=None)))
    assert said(model).text == "A"


def test_a_reply_that_is_longer_than_asked_is_told_once(providers: Providers, caplog: pytest.LogCaptureFixture) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 900}
    model = model_at(providers, providers.gives("long", {**_whole(), "usage": usage}))
    assert [said(model, tokens=9).text for _ in range(2)] == ["A", "A"]
    assert [each for each in caplog.messages if "counted 900 tokens" in each and "at most 9" in each] == caplog.messages


# Reasoning


def test_reasoning_in_a_text_is_told_from_it_piece_by_piece() -> None:
    whole = "\n<think>Well, 1 < 2.</think>\n\nB <think> is a tag."
    for size in (1, 2, 3, 7, 100):
        splitter = ThoughtSplitter()
        pairs = [splitter.passed(whole[at : at + size]) for at in range(0, len(whole), size)] + [splitter.ended()]
        thought, text = ("".join(part) for part in zip(*pairs, strict=True))
        assert (thought, text) == ("Well, 1 < 2.", "B <think> is a tag.")
    assert split_thoughts("of course</think>B") == ("of course", "B")
    assert split_thoughts("<think>never ends") == ("never ends", "")
    assert split_thoughts("<thin ice") == ("", "<thin ice")
    assert split_thoughts("[THINK]a[/THINK]b") == ("a", "b")


def test_a_budget_that_reasoning_ate_says_what_to_raise(providers: Providers) -> None:
    model = model_at(
        providers, providers.gives("thinker", _whole(message={"content": "<think>Hm"}, finish_reason="length"))
    )
    with pytest.raises(ModelCallError, match="on reasoning and wrote no text; set reasoning_tokens in its"):
        said(model, tokens=128)
    assert len(providers.bodies) == 1


def test_options_are_sampled_from_a_model_that_reasons_in_its_text(providers: Providers) -> None:
    name = providers.gives("sampled", _whole(message={"content": "<think>B or A?</think>A"}))
    graph = build_distributional(pool_at(providers, name), scoring="label").compile()
    read = graph.invoke({"question": "Which?", "options": ["x", "y"]})["distributions"]["c"]
    assert (read["probabilities"], read["samples"]) == ([1, 0], 20)


def test_no_reasoning_is_streamed_as_text(providers: Providers) -> None:
    deltas = [{"content": piece} for piece in ("<thi", "nk>secret", " thought</th", "ink>\n", "said ", "<b")]
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": each, "finish_reason": None}]} for each in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events = "".join(f"data: {json.dumps({'id': '1', **each})}\n\n" for each in chunks) + "data: [DONE]\n\n"
    pool = pool_at(providers, providers.gives("streams", events, kind="text/event-stream"))
    seen = {"merge": "", "c": ""}
    for message, data in build_overton(pool).compile().stream({"question": "Why?"}, stream_mode="messages"):
        seen[data["langgraph_node"]] += message.text  # type: ignore[index,union-attr]
    assert {name: text.strip() for name, text in seen.items()} == {"merge": "said <b", "c": "said <b"}
    parts = list(PoolModels(pool).base().chat.stream(PROMPT))
    assert "".join(str(part.additional_kwargs.get("reasoning_content", "")) for part in parts) == "secret thought"


def test_short_replies_of_a_model_that_reasons_get_room_for_it(providers: Providers) -> None:
    model = model_at(providers, "llama-server")
    assert said(model, tokens=8).text
    assert [body["max_tokens"] for body in providers.bodies] == [8, 8 + 2048]
    providers.bodies.clear()
    assert said(model_at(providers, "vllm", "reasoning_tokens = 100"), tokens=8).text
    assert [body["max_tokens"] for body in providers.bodies] == [108]


# The pool's keys


def test_the_keys_of_the_pool_are_sent(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MY_HEADER", "canary-header-value")
    more = (
        'temperature = "default"\ntop_p = "default"\nreasoning_effort = "low"\nextra_body = { top_k = 20 }\n'
        'chat_template_kwargs = { enable_thinking = false }\nheaders_env = { X-Tenant = "MY_HEADER" }'
    )
    model = model_at(providers, "llama-server", more)
    said(model)
    asyncio.run(model.chat.ainvoke(PROMPT))
    (sent, _) = providers.bodies
    assert not {"temperature", "top_p"} & set(sent)
    assert (sent["reasoning_effort"], sent["top_k"]) == ("low", 20)
    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert [each["x-tenant"] for each in providers.headers] == ["canary-header-value"] * 2
    assert "canary" not in caplog.text + repr(model) + str(model.chat)
    echo = model_at(providers, providers.gives("echo", {"detail": "canary-header-value"}, status=400), more)
    with pytest.raises(ModelCallError, match=r"\*\*\*"):
        said(echo)


def test_a_header_whose_variable_is_not_set_is_told(providers: Providers) -> None:
    with pytest.raises(ModelLoadError, match="X-Tenant from the environment variable NO_SUCH, which is not set"):
        model_at(providers, "vllm", 'headers_env = { X-Tenant = "NO_SUCH" }')


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ('headers_env = { X-Tenant = "sk-the value" }', "name of an environment variable, never its value"),
        ('headers_env = { "X: y" = "A" }', "must name headers"),
        ("extra_body = { messages = [] }", "must not hold messages"),
        ('temperature = "hot"', "must be a number"),
    ],
)
def test_wrong_keys_are_told(providers: Providers, more: str, match: str) -> None:
    with pytest.raises(PoolError, match=match) as caught:
        model_at(providers, "vllm", more)
    assert "sk-the" not in str(caught.value)


def test_a_pool_of_before_is_kept_as_it_was() -> None:
    assert set(RemoteModel(openai="m").model_dump()) == {
        *("openai", "base_url", "api_key_env", "temperature", "top_p", "try_seconds")
    }


# The environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SSL_CERT_FILE", "/no/such/file.pem"),
        ("HTTP_PROXY", "nonsense://proxy:1"),
        ("https_proxy", "socks9://proxy"),
        ("ALL_PROXY", "http://me:canarypass@host:notaport"),
        ("OPENAI_PROXY", "socks9://proxy"),
        ("SSLKEYLOGFILE", "/no/such/folder/keys"),
    ],
)
def test_a_variable_that_keeps_the_client_from_being_made_is_named(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    from modular_pluralism.models.remote import _trusted

    monkeypatch.setenv(name, value)
    _trusted.cache_clear()
    try:
        with pytest.raises(ModelLoadError, match=rf"^\[models\.m\] cannot be opened.*variables? .*{name}") as caught:
            model_at(providers, "vllm")
    finally:
        _trusted.cache_clear()
    assert "canarypass" not in str(caught.value)


@pytest.mark.parametrize("name", ["OPENAI_ORG_ID", "OPENAI_PROJECT_ID"])
def test_a_variable_that_no_header_can_hold_is_named(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "é\n")
    with pytest.raises(ModelLoadError, match=f"variable {name} holds characters that no header can have"):
        model_at(providers, "vllm")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "OPENAI_PROXY"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_proxy_is_obeyed_by_both_kinds_of_calls(
    providers: Providers, monkeypatch: pytest.MonkeyPatch, asynchronous: bool, variable: str
) -> None:
    monkeypatch.setenv(variable, providers.address.removesuffix("/v1"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    text = (
        'base = "m"\n[models.m]\nopenai = "vllm"\nbase_url = "http://far.invalid/v1"\n'
        '[communities.c]\nmodel = "m"\ndescription = "C"\n'
    )
    chat = PoolModels(Pool.from_toml(text, source="far.toml", folder=Path())).base().chat
    reply = asyncio.run(chat.ainvoke(PROMPT, max_tokens=60)) if asynchronous else chat.invoke(PROMPT, max_tokens=60)
    assert str(reply.text).startswith("word0")


def test_alternatives_are_as_many_as_asked() -> None:
    assert len(top_logprobs(3)["content"][0]["top_logprobs"]) == 3
