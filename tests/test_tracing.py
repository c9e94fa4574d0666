"""What an application sees of a run: callbacks with tags and metadata, streamed events, and OpenTelemetry spans."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, TypedDict
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langgraph.graph import END, START, StateGraph
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from modular_pluralism.errors import ModelCallError, QuorumError
from modular_pluralism.graphs import build_distributional, build_moe, build_overton, build_pluralism, build_steerable
from modular_pluralism.models.calls import Call, Caller
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.models.redaction import keep_secret
from modular_pluralism.models.reply_reader import ReplyOptionReader
from modular_pluralism.nodes import ask
from modular_pluralism.pool import Pool
from tests.fake_models import NAMES, FakeChat, Seen, always, choosing, fake_models, fake_pool, label_of, scripted

OVERTON: dict[str, Any] = {"question": "Should everybody vote?"}
ASKED: dict[str, Any] = {**OVERTON, "attribute": "thrift", "options": ["Yes", "No"]}


def prefers(seen: Seen) -> dict[str, float]:
    return {label_of("No", seen.prompt): 0.75, label_of("Yes", seen.prompt): 0.25} if "A. " in seen.prompt else {"2": 1}


class Conversation(TypedDict, total=False):
    question: str
    attribute: str
    options: list[str]
    mode: str
    answer: str


def parent(graph: Any) -> Any:
    """Somebody else's graph, with ours as a node of it."""
    outer = StateGraph(Conversation)
    outer.add_node("pluralism", graph.compile())
    outer.add_edge(START, "pluralism")
    outer.add_edge("pluralism", END)
    return outer.compile()


def built(mode: str, **others: Any) -> Any:
    builders: dict[str, Any] = {
        "overton": build_overton,
        "steerable": build_steerable,
        "distributional": build_distributional,
        "moe": build_moe,
    }
    return builders[mode](fake_pool(), models=fake_models(choosing(prefers, "An answer."), **others))


def run(graph: Any, config: Any, *, asynchronous: bool, asked: dict[str, Any] = ASKED) -> Any:
    return asyncio.run(graph.ainvoke(asked, config)) if asynchronous else graph.invoke(asked, config)


# Callbacks


class Handler(BaseCallbackHandler):
    """Remembers the starts of model calls and runs, and the tokens between."""

    def __init__(self) -> None:
        self.calls: list[tuple[frozenset[str], dict[str, Any]]] = []
        self.readings: list[tuple[str, frozenset[str], dict[str, Any]]] = []
        self.tokens: dict[UUID, str] = {}
        self.lock = threading.Lock()

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        with self.lock:
            self.calls.append((frozenset(tags or ()), metadata or {}))

    def on_llm_new_token(self, token: Any, *, run_id: UUID, **kwargs: Any) -> None:
        with self.lock:
            self.tokens[run_id] = self.tokens.get(run_id, "") + str(token)

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.get("name") in ("label_probabilities", "text_logprobs"):
            with self.lock:
                self.readings.append((kwargs["name"], frozenset(tags or ()), inputs))


def labels(mode: str, role: str, community: str | None = None) -> dict[str, str]:
    return {"mode": mode, "role": role} | ({"community": community} if community else {})


def marked(metadata: dict[str, Any]) -> dict[str, str]:
    return {key: metadata[key] for key in ("mode", "role", "community") if key in metadata}


def in_order(found: list[dict[str, str]]) -> list[tuple[tuple[str, str], ...]]:
    return sorted(tuple(sorted(each.items())) for each in found)


EXPECTED = {
    "overton": [*(labels("overton", "comment", name) for name in NAMES), labels("overton", "merge")],
    "steerable": [
        *(labels("steerable", "comment", name) for name in NAMES),
        labels("steerable", "select"),
        *[labels("steerable", "respond")] * 2,  # one a rotation of the two options
    ],
    "distributional": [
        *(labels("distributional", "comment", name) for name in NAMES),
        *(labels("distributional", "score", name) for name in NAMES for _ in range(2)),
    ],
}


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("mode", EXPECTED)
def test_every_call_tells_the_applications_handler_its_community_mode_and_role(mode: str, asynchronous: bool) -> None:
    handler = Handler()
    graph, config = parent(built(mode)), {"callbacks": [handler], "tags": ["mine"], "metadata": {"tenant": "t1"}}
    run(graph, config, asynchronous=asynchronous, asked=OVERTON if mode == "overton" else ASKED)
    assert in_order([marked(metadata) for _, metadata in handler.calls]) == in_order(EXPECTED[mode])
    for tags, metadata in handler.calls:
        assert {f"{key}:{value}" for key, value in marked(metadata).items()} | {"mine"} <= tags
        assert metadata["tenant"] == "t1"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_tokens_reach_the_applications_handler_and_its_stream(asynchronous: bool) -> None:
    handler = Handler()
    graph, config = parent(built("overton")), {"callbacks": [handler]}

    async def collected() -> list[Any]:
        return [each async for each in graph.astream(OVERTON, config, stream_mode="messages", subgraphs=True)]

    def streamed() -> list[Any]:
        return list(graph.stream(OVERTON, config, stream_mode="messages", subgraphs=True))

    said: dict[str, str] = {}
    for _, (message, metadata) in asyncio.run(collected()) if asynchronous else streamed():
        name = metadata.get("community", metadata["role"])
        said[name] = said.get(name, "") + message.text
    assert said == {name: f"The view of {name}." for name in NAMES} | {"merge": "An answer."}
    assert sorted(handler.tokens.values()) == sorted(said.values())


def test_the_graph_of_all_modes_tells_which_of_them_ran() -> None:
    handler = Handler()
    graph = build_pluralism(fake_pool(), models=fake_models(choosing(prefers, "An answer.")))
    parent(graph).invoke({**ASKED, "mode": "steerable"}, {"callbacks": [handler]})
    assert in_order([marked(metadata) for _, metadata in handler.calls]) == in_order(EXPECTED["steerable"])


def test_a_baseline_tells_its_name() -> None:
    handler = Handler()
    built("moe").compile().invoke({"question": "Q?"}, {"callbacks": [handler]})
    assert {metadata["mode"] for _, metadata in handler.calls} == {"moe"}
    assert sorted(metadata["role"] for _, metadata in handler.calls) == ["answer", "comment", "route"]


async def test_tokens_and_labels_are_in_the_events_of_the_applications_graph() -> None:
    said: dict[str, str] = {}
    starts = []
    async for event in parent(built("overton")).astream_events(OVERTON, version="v2"):
        if event["event"] == "on_chat_model_start":
            starts.append(marked(event["metadata"]))
            assert {f"{key}:{value}" for key, value in marked(event["metadata"]).items()} <= set(event["tags"])
        elif event["event"] == "on_chat_model_stream":
            name = event["metadata"].get("community", event["metadata"]["role"])
            said[name] = said.get(name, "") + event["data"]["chunk"].text
    assert in_order(starts) == in_order(EXPECTED["overton"])
    assert said == {name: f"The view of {name}." for name in NAMES} | {"merge": "An answer."}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_embedded_models_readings_are_runs_in_the_trace(asynchronous: bool) -> None:
    handler = Handler()
    pool = Pool.load("perspective")
    run = pool.run.model_copy(update={"comment_tokens": 2})
    graph = build_distributional(pool.model_copy(update={"run": run}), scoring="label").compile()
    config: Any = {"callbacks": [handler]}
    asked: Any = {"question": "Should everybody vote?", "options": ["Yes", "No"]}
    if asynchronous:
        asyncio.run(graph.ainvoke(asked, config))
    else:
        graph.invoke(asked, config)
    assert len(handler.calls) == len(handler.readings) == 6
    for name, tags, given in handler.readings:
        assert name == "label_probabilities"
        assert {"mode:distributional", "role:score"} <= tags
        assert given["labels"] == ["A", "B"]
    assert {tag for _, tags, _ in handler.readings for tag in tags if tag.startswith("community:")} == {
        f"community:{name}" for name in pool.communities
    }


# OpenTelemetry


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exporter.clear()
    yield exporter
    exporter.clear()


def of_calls(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name.split()[0] in ("chat", "score")]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_call_has_a_span_below_the_applications_own(spans: InMemorySpanExporter, asynchronous: bool) -> None:
    graph = built("distributional").compile()
    with trace.get_tracer("application").start_as_current_span("request") as outer:
        run(graph, None, asynchronous=asynchronous)
    found = of_calls(spans)
    assert len(found) == 2 * len(NAMES)
    for span in found:
        assert span.parent is not None
        assert span.parent.span_id == outer.get_span_context().span_id
        assert span.context is not None
        assert span.context.trace_id == outer.get_span_context().trace_id
        assert span.kind is SpanKind.CLIENT
        assert span.status.status_code is StatusCode.UNSET
    comments = {attributes(span)["pluralism.community"]: span for span in found if span.name.startswith("chat ")}
    assert set(comments) == set(NAMES)
    assert attributes(comments["east"]) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "model 'east'",
        "gen_ai.request.max_tokens": 128,
        "gen_ai.request.seed": attributes(comments["east"])["gen_ai.request.seed"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.response.finish_reasons": ("stop",),
        "pluralism.attempts": 1,
        "pluralism.community": "east",
        "pluralism.mode": "distributional",
        "pluralism.role": "comment",
    }
    scores = [attributes(span) for span in found if span.name.startswith("score ")]
    assert {each["pluralism.community"] for each in scores} == set(NAMES)
    assert {each["gen_ai.operation.name"] for each in scores} == {"score"}


def test_spans_hold_no_text(spans: InMemorySpanExporter) -> None:
    built("overton").compile().invoke({"question": "A canary?"})
    shown = " ".join(span.to_json() for span in of_calls(spans))
    assert len(of_calls(spans)) == len(NAMES) + 1
    assert "canary" not in shown
    assert "The view" not in shown
    assert "An answer" not in shown


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failed_call_is_noted_without_the_key(spans: InMemorySpanExporter, asynchronous: bool) -> None:
    keep_secret("sk-canary-of-spans")
    ill = FakeChat(say=lambda seen: RuntimeError("refused sk-canary-of-spans"))
    graph = build_overton(fake_pool(("one",)), models=fake_models(always("x"), ("one",), one=ill)).compile()
    with pytest.raises(QuorumError):
        run(graph, None, asynchronous=asynchronous, asked=OVERTON)
    (span,) = of_calls(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "model 'one' failed: refused ***."
    assert attributes(span)["error.type"] == "ModelCallError"
    (event,) = span.events
    assert event.name == "exception"
    assert dict(event.attributes or {}) == {
        "exception.type": "ModelCallError",
        "exception.message": "model 'one' failed: refused ***.",
    }


async def test_a_cancelled_call_has_a_span_with_an_error(spans: InMemorySpanExporter) -> None:
    started = asyncio.Event()

    async def hang(config: Any) -> str:
        started.set()
        await asyncio.sleep(30)
        return ""

    asked = ask.text(_model(always("x")), []).asked
    task = asyncio.create_task(Caller().acall(Call("model 'm'", lambda config: "", hang, asked), {}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (span,) = of_calls(spans)
    assert attributes(span)["error.type"] == "CancelledError"


def test_what_is_called_within_is_below_the_call(spans: InMemorySpanExporter) -> None:
    """As the spans of an instrumented HTTP client are."""

    def say(seen: Seen) -> str:
        with trace.get_tracer("client").start_as_current_span("POST"):
            return "said"

    Caller().call(ask.text(_model(FakeChat(say=say)), []), {})
    inner = next(span for span in spans.get_finished_spans() if span.name == "POST")
    (outer,) = of_calls(spans)
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id


def test_a_call_that_is_tried_again_is_one_span(spans: InMemorySpanExporter) -> None:
    flaky = FakeChat(say=scripted(ConnectionError("gone"), "said"))
    Caller(attempts=2).call(ask.text(_model(flaky), []), {})
    (span,) = of_calls(spans)
    assert attributes(span)["pluralism.attempts"] == 2
    with pytest.raises(ModelCallError):
        Caller(attempts=1).call(ask.text(_model(always(ConnectionError("gone"))), []), {})


def test_spans_of_an_embedded_model_name_it(spans: InMemorySpanExporter) -> None:
    pool = Pool.load("perspective")
    run = pool.run.model_copy(update={"comment_tokens": 2})
    one = {"news_left": pool.communities["news_left"]}
    pool = pool.model_copy(update={"run": run, "communities": one})
    build_distributional(pool, scoring="label").compile().invoke({"question": "Q?", "options": ["Yes", "No"]})
    chat, score = sorted(of_calls(spans), key=lambda span: span.name)
    # As it is prepared on this machine, or as it is.
    assert re.fullmatch(r"chat SmolLM2-135M-Instruct\.Q4_1(\.as-BF16)?", chat.name)
    assert score.name == chat.name.replace("chat", "score")
    assert chat.kind is score.kind is SpanKind.INTERNAL
    found = attributes(chat)
    assert found["gen_ai.provider.name"] == "llama.cpp"
    assert found["gen_ai.response.finish_reasons"] == ("length",)
    assert found["gen_ai.usage.output_tokens"] == 2
    assert found["gen_ai.usage.input_tokens"] > 20


_WITHOUT = """
import sys
sys.modules["opentelemetry"] = None  # as where it is not installed
from langchain_core.language_models import FakeListChatModel
from modular_pluralism import build_overton
graph = build_overton(models={"smollm2": FakeListChatModel(responses=["said"])}).compile()
print(graph.invoke({"question": "Q?"})["answer"])
"""


def test_graphs_run_where_opentelemetry_is_not_installed() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (0, "said\n"), done.stderr


def _model(chat: FakeChat) -> PoolModel:
    return PoolModel("model 'm'", chat, ReplyOptionReader(chat, "model 'm'"))
