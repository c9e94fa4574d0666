"""The debugger's live runs: what they tell, what they keep, and how they end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from modular_pluralism import ModeDescription, OvertonState, build_overton, register_mode
from modular_pluralism.debugger.calls import read_calls
from modular_pluralism.debugger.events import (
    CallMade,
    NodeEnded,
    NodeRetried,
    NodeStarted,
    NodeToken,
    RunStarted,
)
from modular_pluralism.debugger.fork import ForkRequest, start_fork
from modular_pluralism.debugger.live import start_run
from modular_pluralism.debugger.records import own_calls
from modular_pluralism.errors import InputError
from modular_pluralism.modes import modes
from modular_pluralism.runs.run_table import RunTable
from tests.debugging import NAMES, ended, finished, followed, open_bench
from tests.fake_models import FakeChat, HangingChat, always, scripted

BOXES: dict[str, list[str]] = {
    "overton": ["check", *NAMES, "merge"],
    "steerable": ["check", *NAMES, "select", "respond"],
    "distributional": ["check", *NAMES, *(f"{name}/score" for name in NAMES), "aggregate"],
}


@pytest.mark.parametrize("mode", BOXES)
async def test_every_box_waits_starts_and_finishes(tmp_path: Path, mode: str) -> None:
    async with open_bench(tmp_path) as bench:
        live = await start_run(bench.store, bench.request(mode), run="one", models=bench.models)
        events = await followed(live)
        listed = await RunTable(bench.store).get("one")
    first, last = events[0], events[-1]
    assert isinstance(first, RunStarted)
    assert [box.id for box in first.nodes] == BOXES[mode]
    assert sorted(event.node for event in events if isinstance(event, NodeStarted)) == sorted(BOXES[mode])
    assert sorted(ended(events, "finished")) == sorted(BOXES[mode])
    assert set(finished(last)["comments"]) == set(NAMES)
    assert listed.state == "finished"
    ids = {box.id for box in first.nodes}
    assert all(set(box.after) <= ids for box in first.nodes)


async def test_text_is_told_as_it_comes(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        events = await followed(await start_run(bench.store, bench.request(), models=bench.models))
    said = [event.text for event in events if isinstance(event, NodeToken) and event.node == "ann"]
    assert said == ["The ", "view ", "of ", "ann."]


@pytest.mark.parametrize(
    ("mode", "calls"),
    [
        ("overton", {"merge": "chat"}),
        ("steerable", {"select": "label_probabilities", "respond": "chat"}),
        ("distributional", {f"{name}/score": "label_probabilities" for name in NAMES}),
    ],
)
async def test_every_call_is_recorded_and_kept(tmp_path: Path, mode: str, calls: dict[str, str]) -> None:
    async with open_bench(tmp_path) as bench:
        live = await start_run(bench.store, bench.request(mode), models=bench.models)
        told = [event.record for event in await followed(live) if isinstance(event, CallMade)]
        kept = await own_calls(bench.store, live.run)
    assert kept == told
    assert {record.node: record.kind for record in kept} == {**dict.fromkeys(NAMES, "chat"), **calls}
    assert [record.number for record in kept] == list(range(1, len(kept) + 1))
    of_ann: Any = next(record for record in kept if record.node == "ann")
    assert of_ann.reply == "The view of ann."
    assert "Is it so?" in of_ann.prompts[0]["messages"][0]["content"]
    assert of_ann.prompts[0]["text"] is None
    assert "template" in of_ann.note
    assert (of_ann.prompt_tokens, of_ann.completion_tokens) == (7, 4)
    assert of_ann.settings["max_tokens"] == 128
    assert isinstance(of_ann.settings["seed"], int)


async def test_a_reading_has_its_orders_labels_and_probabilities(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        live = await start_run(bench.store, bench.request("distributional"), models=bench.models)
        await followed(live)
        record: Any = next(each for each in await own_calls(bench.store, live.run) if each.node == "ann/score")
    assert len(record.prompts) == 2
    assert list(record.labels) == ["A", "B"]
    assert record.raw == [pytest.approx([0.3, 0.1])] * 2
    assert record.community == "ann"
    assert len(record.token_logprobs) == 2


async def test_a_failed_community_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    async with open_bench(tmp_path, bob=always(ValueError("no such thing"))) as bench:
        live = await start_run(bench.store, bench.request(), models=bench.models)
        events = await followed(live)
        kept = await own_calls(bench.store, live.run)
    assert ended(events, "failed") == ["bob"]
    finished(events[-1])
    record = next(each for each in kept if each.node == "bob")
    assert record.errors == ["no such thing"]
    assert record.reply is None


async def test_a_retry_is_one_call(tmp_path: Path) -> None:
    async with open_bench(tmp_path, bob=FakeChat(say=scripted(ConnectionError("gone"), "Here."))) as bench:
        bench.pool.write_text(bench.pool.read_text().replace("attempts = 1", "attempts = 2"))
        live = await start_run(bench.store, bench.request(), models=bench.models)
        events = await followed(live)
        kept = [each for each in await own_calls(bench.store, live.run) if each.node == "bob"]
    assert [(event.node, event.attempt) for event in events if isinstance(event, NodeRetried)] == [("bob", 2)]
    assert [(each.attempts, each.reply, each.errors) for each in kept] == [(2, "Here.", ["gone"])]


async def test_a_failed_run_is_told_and_kept(tmp_path: Path) -> None:
    async with open_bench(tmp_path, boss=always(ValueError("out of order"))) as bench:
        live = await start_run(bench.store, bench.request(), models=bench.models)
        events, end = await followed(live), await live.wait()
        listed = await RunTable(bench.store).get(live.run)
    assert end == events[-1]
    assert "out of order" in str(end.error)
    assert ended(events, "failed") == ["merge"]
    assert (listed.state, listed.error) == (end.state, end.error) == ("failed", end.error)


async def test_a_run_can_be_stopped_and_its_calls_are_kept(tmp_path: Path) -> None:
    hanging = HangingChat(say=lambda seen: "Late.")
    async with open_bench(tmp_path, bob=hanging) as bench:
        live = await start_run(bench.store, bench.request(), models=bench.models)
        async for event in live.events():
            if isinstance(event, NodeEnded) and event.node == "ann":
                break
        await live.stop()
        hanging.release.set()
        assert (await live.wait()).state == "stopped"
        kept = {each.node: each for each in await own_calls(bench.store, live.run)}
        listed = await RunTable(bench.store).get(live.run)
    assert listed.state == "stopped"
    assert kept["ann"].reply == "The view of ann."
    assert kept["bob"].errors
    assert live.done


async def test_runs_go_on_side_by_side_in_one_store(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        lives = [await start_run(bench.store, bench.request(mode), run=mode, models=bench.models) for mode in BOXES]
        ends = await asyncio.gather(*(live.wait() for live in lives))
        kept = [await own_calls(bench.store, mode) for mode in BOXES]
    assert [end.state for end in ends] == ["finished"] * 3
    assert [len(calls) for calls in kept] == [4, 5, 6]
    assert all(call.run == mode for mode, calls in zip(BOXES, kept, strict=True) for call in calls)


async def test_two_readers_see_the_same(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        live = await start_run(bench.store, bench.request(), models=bench.models)
        one, other = await asyncio.gather(followed(live), followed(live))
        late = await followed(live)
    assert one == other == late


async def test_a_bad_request_is_refused_before_anything_is_kept(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        for unusable in ({"question": " "}, {"options": ["Yes", "No"]}):
            with pytest.raises(InputError):
                bench.request(**unusable)
        with pytest.raises(InputError, match="there twice"):
            await start_run(bench.store, bench.request("distributional", options=["Yes", "Yes"]), models=bench.models)
        await followed(await start_run(bench.store, bench.request(), run="one", models=bench.models))
        with pytest.raises(InputError, match="already"):
            await start_run(bench.store, bench.request(), run="one", models=bench.models)
        assert [each.id for each in await RunTable(bench.store).all()] == ["one"]


async def test_no_key_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modular_pluralism.models.redaction import keep_secret

    keep_secret("sk-not-for-any-store-1234")
    async with open_bench(tmp_path, ann=always("I say sk-not-for-any-store-1234\x00 aloud.")) as bench:
        live = await start_run(bench.store, bench.request(), models=bench.models)
        events = await followed(live)
        record = next(each for each in await own_calls(bench.store, live.run) if each.node == "ann")
    assert record.reply == "I say ***\x00 aloud."
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"I say ***" in kept
    assert b"any-store" not in kept
    assert "any-store" not in repr(events)
    tokens = [each.text for each in events if isinstance(each, NodeToken) and each.node == "ann"]
    assert "".join(tokens).startswith("I say ***")


async def test_a_mode_with_stages_of_its_own_is_watched_and_forked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modular_pluralism.modes._modes", dict(modes()))
    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | always("Woven.") | StrOutputParser()

    def check(heard: Any) -> str:
        return "Checked."

    def build_woven(pool: Any, **more: Any) -> Any:
        return build_overton(pool, merge=chain, after_comments=[check], **more)

    register_mode(ModeDescription("woven", "w", "o", "t", build_woven, OvertonState))
    async with open_bench(tmp_path) as bench:
        request = bench.request().model_copy(update={"mode": "woven"})
        events = await followed(await start_run(bench.store, request, run="one", models=bench.models))
        fork = await start_fork(bench.store, ForkRequest(run="one"), run="two", models=bench.models)
        again = await followed(fork)
        calls = await read_calls(bench.store, "one")
    boxes = ["check", *NAMES, *(f"{name}/after_1" for name in NAMES), "merge"]
    assert sorted(ended(events, "finished")) == sorted(boxes)
    assert finished(events[-1])["answer"] == finished(again[-1])["answer"] == "Woven."
    assert finished(events[-1])["comments"]["ann"]["text"] == "Checked."
    assert sorted(ended(again, "reused")) == sorted(boxes), "all is as it was"
    (woven,) = (call for call in calls if call.node == "merge")
    assert (woven.model, woven.reply) == ("merge", "Woven.")
    assert "boss" not in {call.model for call in calls}
