"""The debugger on runs that are kept in a real Postgres."""

from __future__ import annotations

from pathlib import Path

import pytest

from modular_pluralism.debugger.calls import read_calls
from modular_pluralism.debugger.fork import ForkRequest, start_fork
from modular_pluralism.debugger.history import list_runs, read_run
from modular_pluralism.debugger.live import start_run
from modular_pluralism.runs.edits import Edits
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.opening import open_run_store
from modular_pluralism.runs.run_table import RunTable
from tests.debugging import NAMES, Bench, finished, followed
from tests.fake_models import always
from tests.test_runs_postgres import database

__all__ = ["database"]
pytestmark = pytest.mark.faults


async def test_runs_are_kept_forked_and_removed(database: str, tmp_path: Path) -> None:
    async with open_run_store(find_location(database), 30.0) as store:
        bench = Bench(tmp_path, store, ann=always("A null character: \x00."))
        live = await start_run(store, bench.request("distributional"), run="parent", models=bench.models)
        finished((await followed(live))[-1])
        assert [step.nodes for step in (await read_run(store, "parent")).steps][3] == [*NAMES]
        asked = bench.asked()
        request = ForkRequest(run="parent", edits=Edits(comments={"bob": "Mine."}), step=2)
        live = await start_fork(store, request, run="fork", models=bench.models)
        finished((await followed(live))[-1])
        assert bench.asked_since(asked) == {"boss": 2}
        assert [row.listed.id for row in await list_runs(store)] == ["fork", "parent"]
        calls = {call.node: call for call in await read_calls(store, "fork", models=bench.models)}
        assert calls["ann"].reply == "A null character: \x00."
        assert calls["bob/score"].run == "fork"
        for run in ("fork", "parent"):
            await RunTable(store).remove(run)
        assert await list_runs(store) == []
