"""Past runs: the list of them, their supersteps, and the prompts of runs that nobody watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from modular_pluralism.debugger.calls import read_calls
from modular_pluralism.debugger.events import NodeEnded
from modular_pluralism.debugger.history import list_runs, read_run
from modular_pluralism.debugger.kept_tasks import read_tasks
from modular_pluralism.debugger.live import start_run
from modular_pluralism.errors import InputError, StoreError
from tests.debugging import NAMES, Bench, ask, followed, open_bench
from tests.fake_models import HangingChat, always


async def run(bench: Bench, mode: str, name: str = "one") -> None:
    await followed(await start_run(bench.store, bench.request(mode), run=name, models=bench.models))


@pytest.mark.parametrize(
    ("mode", "nodes"),
    [
        ("overton", [[], [], ["check"], [*NAMES], ["merge"]]),
        ("steerable", [[], [], ["check"], [*NAMES], ["select"], ["respond"]]),
        ("distributional", [[], [], ["check"], [*NAMES], ["aggregate"]]),
    ],
)
async def test_supersteps_and_what_they_changed(tmp_path: Path, mode: str, nodes: list[list[str]]) -> None:
    async with open_bench(tmp_path) as bench:
        await run(bench, mode)
        steps = (await read_run(bench.store, "one")).steps
        kept = await read_run(bench.store, "one")
    assert [step.step for step in steps] == list(range(-1, len(nodes) - 1))
    assert [step.nodes for step in steps] == nodes
    assert steps[0].state["question"] == "Is it so?"
    assert {f"comments.{name}" for name in NAMES} <= {change.key for change in steps[3].changes}
    assert all(change.before is None for change in steps[3].changes)
    assert steps[-1].state == kept.state
    assert all(step.complete for step in steps)
    assert steps[2].changes == []


async def test_the_state_of_a_run_that_stopped_in_the_middle(tmp_path: Path) -> None:
    hanging = HangingChat(say=lambda seen: "Late.")
    async with open_bench(tmp_path, bob=hanging) as bench:
        live = await start_run(bench.store, bench.request("distributional"), run="one", models=bench.models)
        async for event in live.events():
            if isinstance(event, NodeEnded) and event.node == "ann/score":
                break
        await live.stop()
        hanging.release.set()
        steps = (await read_run(bench.store, "one")).steps
        tasks = {task.id for task in await read_tasks(bench.store, "one")}
    assert not steps[-1].complete
    assert steps[-1].step == 2
    assert {"ann", "ann/score"} <= set(steps[-1].nodes)
    assert "bob" not in steps[-1].nodes
    assert "ann" in steps[-1].state["distributions"]
    assert {"check", "ann", "ann/score"} <= tasks


@pytest.mark.parametrize("mode", ["overton", "steerable", "distributional"])
async def test_prompts_of_a_run_that_nobody_watched(tmp_path: Path, mode: str) -> None:
    async with open_bench(tmp_path) as bench:
        await ask(bench, bench.request(mode), "two")
        rebuilt = {call.node: call for call in await read_calls(bench.store, "two", models=bench.models)}
        await run(bench, mode, "one")
        recorded = {call.node: call for call in await read_calls(bench.store, "one")}
        bench.pool.write_text(bench.pool.read_text().replace("People like bob", "Others"))
        without = {call.node: call for call in await read_calls(bench.store, "two", models=bench.models)}
    assert set(rebuilt) == set(recorded) == set(without)
    for node, call in rebuilt.items():
        assert [each["messages"] for each in call.prompts] == [each["messages"] for each in recorded[node].prompts]
        assert (call.reply or "").strip() == (recorded[node].reply or "").strip()
        assert (call.kind, call.role, call.community) == tuple(
            getattr(recorded[node], key) for key in ("kind", "role", "community")
        )
        assert call.rebuilt
        assert "not recorded" in str(call.note)
        assert without[node].prompts == []
        assert "changed since" in str(without[node].note)
        assert without[node].kind == call.kind


async def test_a_thousand_runs_are_listed_without_reading_a_checkpoint(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await run(bench, "overton")
        columns = "created, mode, question, communities, state, error, setup"
        for number in range(1000):
            sql = f"INSERT INTO pluralism_runs (id, {columns}) SELECT ?, {columns} FROM pluralism_runs WHERE id = 'one'"
            await bench.store.change((sql, [f"copy{number}"]))
        await bench.store.change(("DELETE FROM checkpoints", []), ("DELETE FROM writes", []))
        rows = await list_runs(bench.store)
    assert len(rows) == 1001
    assert all(row.setup is not None and row.setup.mode == "overton" for row in rows)


async def test_a_failed_run_has_its_error_and_its_steps(tmp_path: Path) -> None:
    async with open_bench(tmp_path, boss=always(ValueError("out of order"))) as bench:
        await run(bench, "overton")
        kept = await read_run(bench.store, "one")
        steps = (await read_run(bench.store, "one")).steps
    assert kept.listed.state == "failed"
    assert set(kept.state["comments"]) == set(NAMES)
    assert steps[-1].nodes == [*NAMES]


async def test_a_run_of_which_no_nodes_are_noted_is_told_as_such_and_not_as_damaged(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        await run(bench, "overton")
        await bench.store.change(("UPDATE writes SET task_path = '' WHERE thread_id = 'one'", []))
        with pytest.raises(StoreError, match="did not note the nodes"):
            await read_tasks(bench.store, "one")


async def test_there_is_no_such_run_or_it_is_damaged(tmp_path: Path) -> None:
    async with open_bench(tmp_path) as bench:
        for read in (read_run, read_tasks, read_calls):
            with pytest.raises(InputError, match="no run other"):
                await read(bench.store, "other")
        await run(bench, "overton")
        for record in ("{", "[" * 100_000):
            await bench.store.change(("UPDATE pluralism_records SET record = ? WHERE run = 'one'", [record]))
            with pytest.raises(StoreError, match="damaged"):
                await read_calls(bench.store, "one")
