"""What a run tells as it happens: to the custom stream, and to the log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, get_type_hints

import pytest
from langgraph.graph import END, START, StateGraph

from modular_pluralism import Event, NodeCache, OvertonState, build_distributional, build_overton, build_steerable
from modular_pluralism.errors import ModelCallError, QuorumError
from modular_pluralism.models.redaction import keep_secret
from tests.fake_models import Seen, always, choosing, fake_models, fake_pool

TWO = ("north", "east")
QUESTION: dict[str, Any] = {"question": "Is it so?"}
OPTIONS: dict[str, Any] = {**QUESTION, "options": ["Yes", "No"]}


def likes_a(seen: Seen) -> dict[str, float]:
    return {"A": 0.8, "B": 0.1, "1": 0.06, "2": 0.02}


def models(**others: Any) -> Any:
    return fake_models(choosing(likes_a), TWO, **others)


def streamed(graph: Any, question: dict[str, Any], into: list[Any] | None = None, **settings: Any) -> list[Any]:
    told: list[Any] = [] if into is None else into
    for each in graph.stream(question, stream_mode="custom", **settings):
        told.append(each)
    return told


def astreamed(graph: Any, question: dict[str, Any], into: list[Any] | None = None, **settings: Any) -> list[Any]:
    told: list[Any] = [] if into is None else into

    async def run() -> None:
        async for each in graph.astream(question, stream_mode="custom", **settings):
            told.append(each)

    asyncio.run(run())
    return told


Streaming = Callable[..., list[Any]]
both_ways = pytest.mark.parametrize("stream", [streamed, astreamed])


@both_ways
def test_overton_tells_of_every_comment_and_of_the_merge(stream: Streaming) -> None:
    events = stream(build_overton(fake_pool(TWO), models=models()).compile(), QUESTION)
    assert all(set(each) == set(get_type_hints(Event)) for each in events)
    assert json.loads(json.dumps(events)) == events
    assert sorted((each["event"], each["node"]) for each in events[:4]) == [
        *[("answered", "east"), ("answered", "north")],
        *[("started", "east"), ("started", "north")],
    ]
    assert [(each["event"], each["node"], each["role"], each["community"]) for each in events[4:]] == [
        ("started", "merge", "merge", None),
        ("answered", "merge", "merge", None),
    ]
    started, answered = (next(e for e in events if e["node"] == "north" and e["event"] == what) for what in _BOTH)
    assert (started["seconds"], started["attempts"], started["prompt_tokens"]) == (None, 0, None)
    assert answered["seconds"] >= 0
    assert {**answered, "seconds": 0} == {
        **{"event": "answered", "node": "north", "role": "comment", "community": "north", "mode": "overton"},
        **{"seconds": 0, "prompt_tokens": 7, "completion_tokens": 4, "attempts": 1, "error": None},
    }


_BOTH = ("started", "answered")


@both_ways
def test_a_subgraphs_events_come_with_its_place(stream: Streaming) -> None:
    voting = models(north=choosing(likes_a), east=choosing(likes_a))
    graph = build_distributional(fake_pool(TWO), models=voting, voice="comment,vote", scoring="label").compile()
    told = stream(graph, OPTIONS, subgraphs=True)
    of_north = [
        (place[0].split(":")[0], each["event"], each["role"]) for place, each in told if each["community"] == "north"
    ]
    assert of_north == [
        *[("north", "started", "comment"), ("north", "answered", "comment")],
        *[("north", "started", "score"), ("north", "scored", "score")],
        *[("north", "started", "vote"), ("north", "voted", "vote")],
    ]
    assert all(len(place) == 1 for place, _ in told)


def test_an_outer_graph_hears_of_the_inner_one() -> None:
    outer = StateGraph(OvertonState)
    outer.add_node("inner", build_overton(fake_pool(TWO), models=models()).compile())
    outer.add_edge(START, "inner")
    outer.add_edge("inner", END)
    told = streamed(outer.compile(), QUESTION, subgraphs=True)
    assert [(place[0].split(":")[0], each["node"]) for place, each in told][-2:] == [("inner", "merge")] * 2


def test_readings_count_no_tokens_and_a_node_sums_its_calls() -> None:
    graph = build_distributional(fake_pool(TWO), models=models(boss=always("A")), scoring="label").compile()
    scored = [each for _, each in streamed(graph, OPTIONS, subgraphs=True) if each["event"] == "scored"]
    assert [each["completion_tokens"] for each in scored] == [20, 20], "20 samples of a token each"
    read = build_distributional(fake_pool(TWO), models=models(), scoring="label").compile()
    scored = [each for _, each in streamed(read, OPTIONS, subgraphs=True) if each["event"] == "scored"]
    assert [(each["completion_tokens"], each["attempts"]) for each in scored] == [(None, 1)] * 2


@both_ways
def test_a_lost_community_and_a_failed_run_are_told(stream: Streaming, caplog: pytest.LogCaptureFixture) -> None:
    gone = always(ConnectionError("gone"))
    graph = build_overton(fake_pool(("north", "east", "south")), models=fake_models(choosing(likes_a), TWO, south=gone))
    (failed,) = [each for each in stream(graph.compile(), QUESTION) if each["event"] == "failed"]
    assert (failed["node"], failed["community"]) == ("south", "south")
    assert failed["error"] == "model 'south' failed: gone."
    (record,) = caplog.records
    assert (record.levelno, record.name) == (logging.WARNING, "modular_pluralism.nodes.telling")
    assert "south is missing: model 'south' failed: gone." in caplog.text
    assert "ConnectionError: gone" in caplog.text
    assert "fake_models.py" in caplog.text, "where it was raised"


@both_ways
def test_a_run_that_fails_tells_so_before_it_raises(stream: Streaming) -> None:
    graph = build_steerable(fake_pool(TWO), models=models(boss=always(ValueError("no")))).compile()
    events: list[Any] = []
    with pytest.raises(ModelCallError):
        stream(graph, {**QUESTION, "attribute": "thrift"}, into=events)
    assert (events[-1]["event"], events[-1]["node"]) == ("failed", "select")
    assert events[-1]["error"] == "model 'boss' failed: no."


def test_a_traceback_with_a_key_is_left_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    keep_secret("sk-canary-in-events")
    gone = always(ConnectionError("no sk-canary-in-events"))
    graph = build_overton(fake_pool(TWO), models=models(east=gone)).compile()
    with pytest.raises(QuorumError):
        graph.invoke(QUESTION)  # type: ignore[call-overload]
    assert len(caplog.records) == 1
    assert "east is missing: model 'east' failed: no ***." in caplog.text
    assert "canary" not in caplog.text
    # The error itself was left out of the chain, so what is shown of it is ours.
    assert "ConnectionError" not in caplog.text


def test_what_comes_from_a_cache_is_not_told() -> None:
    graph = build_overton(fake_pool(TWO), models=models()).compile(cache=NodeCache())
    assert len(streamed(graph, QUESTION)) == 6
    assert streamed(graph, QUESTION) == []
