"""Forks: what is run again, what is taken over, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.debugger.calls import read_calls
from modular_pluralism.debugger.events import NodeEnded
from modular_pluralism.debugger.fork import ForkRequest, start_fork
from modular_pluralism.debugger.history import list_runs, read_run
from modular_pluralism.debugger.live import start_run
from modular_pluralism.debugger.records import own_calls
from modular_pluralism.errors import InputError, PromptError, StoreError
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.edits import AddedCommunity, Edits
from modular_pluralism.runs.run_table import RunTable
from tests.debugging import NAMES, Bench, ask, ended, finished, followed, open_bench
from tests.fake_models import FakeChat, HangingChat, always, scripted, wait_until

MERGE = PromptSet.load()["merge"].text


async def parent(bench: Bench, mode: str = "overton") -> dict[str, Any]:
    await followed(await start_run(bench.store, bench.request(mode), run="parent", models=bench.models))
    return (await read_run(bench.store, "parent")).state


async def fork(bench: Bench, edits: Edits | None = None, **request: Any) -> dict[str, Any]:
    given = ForkRequest(**{"run": "parent", "edits": edits or Edits(), **request})
    live = await start_fork(bench.store, given, run=f"fork-of-{given.run}", models=bench.models)
    return finished((await followed(live))[-1])


@pytest.mark.parametrize(
    ("mode", "calls"),
    [("overton", {"boss": 1}), ("steerable", {"boss": 2}), ("distributional", {"boss": 2})],
)
async def test_one_edited_comment_runs_only_what_follows_it(tmp_path: Path, mode: str, calls: dict[str, int]) -> None:
    async with open_bench(tmp_path) as bench:
        before = await parent(bench, mode)
        asked = bench.asked()
        state = await fork(bench, Edits(comments={"bob": "Quite another view."}), step=2)
        since = bench.asked_since(asked)
        kept = await own_calls(bench.store, "fork-of-parent")
    assert since == calls  # two orders of the options are two requests to the endpoint
    assert len(kept) == {"overton": 1, "steerable": 2, "distributional": 1}[mode]
    assert state["comments"]["bob"]["text"] == "Quite another view."
    assert state["comments"]["ann"] == before["comments"]["ann"]
    assert list(state["comments"]) == list(NAMES)


async def test_without_an_edit_everything_is_taken_over(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        before = await parent(bench, "distributional")
        asked = bench.asked()
        live = await start_fork(bench.store, ForkRequest(run="parent"), models=bench.models)
        events = await followed(live)
        assert bench.asked_since(asked) == {}
        reused = (await read_run(bench.store, live.run)).reused
        calls = await read_calls(bench.store, live.run, models=bench.models)
    assert finished(events[-1]) == before
    assert {*NAMES, *(f"{name}/score" for name in NAMES), "aggregate"} <= set(ended(events, "reused"))
    assert set(reused.values()) == {"parent"}
    assert {each.run for each in calls} == {"parent"}
    assert len(calls) == 6


async def test_an_edited_prior_asks_nobody(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        before = await parent(bench, "distributional")
        asked = bench.asked()
        state = await fork(bench, Edits(priors={"ann": 9.0}), step=2)
        assert bench.asked_since(asked) == {}
    assert before["weights"]["ann"] == pytest.approx(1 / 3)
    assert state["weights"]["ann"] == pytest.approx(9 / 11)


async def test_an_edited_prompt_runs_the_nodes_that_use_it(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await parent(bench)
        asked = bench.asked()
        await fork(bench, Edits(prompts={"merge": MERGE + "\nBe brief."}))
        assert bench.asked_since(asked) == {"boss": 1}
        boss = bench.models["boss"]
        assert isinstance(boss, FakeChat)
        assert boss.prompts[-1].endswith("Be brief.")


async def test_an_edited_persona_asks_that_community_and_what_follows(tmp_path: Path) -> None:
    async with open_bench(tmp_path, bob=FakeChat(say=scripted("One.", "Two."))) as bench:
        await parent(bench)
        asked = bench.asked()
        state = await fork(bench, Edits(personas={"bob": "You are Bob."}))
        assert bench.asked_since(asked) == {"bob": 1, "boss": 1}
        bob = bench.models["bob"]
        assert isinstance(bob, FakeChat)
        assert bob.prompts[-1].startswith("[system]\nYou are Bob.")
    assert state["comments"]["bob"]["text"] == "Two."


async def test_communities_are_dropped_and_added(tmp_path: Path) -> None:
    new = AddedCommunity(model="bob", description="Newcomers", persona="You are new here.")
    async with open_bench(tmp_path) as bench:
        await parent(bench)
        asked = bench.asked()
        state = await fork(bench, Edits(dropped=["cem"], added={"dee": new}), step=2)
        assert bench.asked_since(asked) == {"bob": 1, "boss": 1}
        rows = {row.listed.id: row for row in await list_runs(bench.store)}
    assert list(state["comments"]) == ["ann", "bob", "dee"]
    origin = rows["fork-of-parent"].origin
    assert origin is not None
    assert (origin.run, origin.step) == ("parent", 2)
    assert rows["parent"].origin is None
    assert rows["fork-of-parent"].listed.communities == 3


async def test_a_fork_of_a_fork_has_both_edits(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await parent(bench)
        await fork(bench, Edits(comments={"bob": "Mine."}), step=2)
        asked = bench.asked()
        state = await fork(bench, Edits(comments={"ann": "Hers."}), run="fork-of-parent", step=2)
        assert bench.asked_since(asked) == {"boss": 1}
        calls = await read_calls(bench.store, "fork-of-fork-of-parent", models=bench.models)
    assert [state["comments"][name]["text"] for name in ("ann", "bob")] == ["Hers.", "Mine."]
    assert {each.node: each.run for each in calls} == {"cem": "parent", "merge": "fork-of-fork-of-parent"}


async def test_a_failed_community_is_asked_again_unless_the_step_is_after_it(tmp_path: Path) -> None:
    async with open_bench(tmp_path, bob=FakeChat(say=scripted(ValueError("no"), "Now."))) as bench:
        assert (await parent(bench))["missing"] == ["bob"]
        asked = bench.asked()
        state = await fork(bench, Edits(comments={"ann": "Mine."}), step=2)
        assert bench.asked_since(asked) == {"boss": 1}
        assert state["missing"] == ["bob"]
        state = await fork(bench, run="fork-of-parent")
        assert state["missing"] == []


async def test_without_a_step_a_failed_community_is_asked_again(tmp_path: Path) -> None:
    async with open_bench(tmp_path, bob=FakeChat(say=scripted(ValueError("no"), "Now."))) as bench:
        await parent(bench)
        asked = bench.asked()
        state = await fork(bench)
        assert bench.asked_since(asked) == {"bob": 1, "boss": 1}
        assert state["missing"] == []


async def test_a_run_that_failed_can_be_forked(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        good, bench.models["boss"] = bench.models["boss"], always(ValueError("out of order"))
        live = await start_run(bench.store, bench.request(), run="parent", models=bench.models)
        assert (await live.wait()).state == "failed"
        steps = (await read_run(bench.store, "parent")).steps
        assert [step.step for step in steps] == [-1, 0, 1, 2]
        bench.models["boss"] = good
        asked = bench.asked()
        await fork(bench, step=2)
        assert bench.asked_since(asked) == {"boss": 1}


@pytest.mark.parametrize(
    ("edits", "step", "says"),
    [
        (Edits(personas={"bob": "You are Bob."}), 2, "fork from a step before 2"),
        (Edits(prompts={"comment": "{question} Say it."}), 2, "step"),
        (Edits(), 9, "no step 9"),
        (Edits(comments={"zoe": "Mine."}), None, "no community zoe"),
        (Edits(comments={"ann": " "}), None, "empty"),
        (Edits(dropped=list(NAMES)), None, "no usable pool"),
        (Edits(priors={"ann": -1.0}), None, "prior"),
        (Edits(added={"ann": AddedCommunity(model="ann", description="x")}), None, "already"),
        (Edits(added={"dee": AddedCommunity(model="zoe", description="x")}), None, "zoe"),
    ],
)
async def test_an_edit_that_cannot_be_is_refused(tmp_path: Path, edits: Edits, step: int | None, says: str) -> None:
    async with open_bench(tmp_path) as bench:
        await parent(bench)
        with pytest.raises(InputError, match=says):
            await start_fork(bench.store, ForkRequest(run="parent", step=step, edits=edits), models=bench.models)
        assert len(await list_runs(bench.store)) == 1


async def test_an_edited_prompt_is_checked(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await parent(bench)
        with pytest.raises(PromptError, match="merge"):
            await start_fork(bench.store, ForkRequest(run="parent", edits=Edits(prompts={"merge": "No variables."})))


async def test_a_pool_that_has_changed_since_cannot_be_forked(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await parent(bench)
        bench.pool.write_text(bench.pool.read_text().replace("People like bob", "Others"))
        with pytest.raises(StoreError, match="changed since"):
            await start_fork(bench.store, ForkRequest(run="parent"), models=bench.models)


async def test_removing_a_run_removes_its_records(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await parent(bench)
        assert await own_calls(bench.store, "parent")
        await RunTable(bench.store).remove("parent")
        assert await own_calls(bench.store, "parent") == []


async def test_a_fork_knows_its_edited_comment_when_it_is_gone_on_with(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await parent(bench)
        await fork(bench, Edits(comments={"bob": "Mine."}))
        setup = (await read_run(bench.store, "fork-of-parent")).setup
    assert setup.load().comments == {"bob": "Mine."}


async def test_calls_of_a_parent_that_is_gone_are_made_again(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await parent(bench)
        await fork(bench, Edits(comments={"bob": "Mine."}))
        await RunTable(bench.store).remove("parent")
        calls = await read_calls(bench.store, "fork-of-parent", models=bench.models)
    assert [(call.node, call.rebuilt) for call in calls] == [("ann", True), ("cem", True), ("merge", False)]
    assert calls[0].reply == "The view of ann."


async def test_a_run_that_was_stopped_can_be_forked(tmp_path: Path) -> None:
    hanging = HangingChat(say=lambda seen: "Late.")
    async with open_bench(tmp_path, bob=hanging) as bench:
        live = await start_run(bench.store, bench.request("distributional"), run="parent", models=bench.models)
        async for event in live.events():
            if isinstance(event, NodeEnded) and event.node == "ann/score":
                break
        with pytest.raises(InputError, match="still on"):
            await start_fork(bench.store, ForkRequest(run="parent"), models=bench.models)
        await live.stop()
        hanging.release.set()
        assert wait_until(lambda: len(hanging.seen) == 1)
        asked = bench.asked()
        live = await start_fork(bench.store, ForkRequest(run="parent"), models=bench.models)
        events = await followed(live)
        finished(events[-1])
        assert {"ann", "ann/score"} <= set(ended(events, "reused"))
        since = bench.asked_since(asked)
    assert since["bob"] == 1
    assert "ann" not in since


async def test_a_run_that_ask_has_kept_can_be_forked(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await ask(bench, bench.request("steerable"), "parent")
        asked = bench.asked()
        state = await fork(bench, Edits(comments={"cem": "Mine."}), step=2)
        # The selector reads every comment, and the answer only the selected one, which is bob's still.
        assert bench.asked_since(asked) == {"boss": 1}
    assert state["comments"]["cem"]["text"] == "Mine."
