"""Runs of the debugger on fake models, in a store of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel

from modular_pluralism.cli.run_graph import run_graph
from modular_pluralism.cli.terminal_view import TerminalView
from modular_pluralism.debugger.build import build_graph
from modular_pluralism.debugger.events import Event, NodeEnded, RunEnded
from modular_pluralism.debugger.live import LiveRun, RunRequest
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.edits import Edited
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.opening import open_run_store
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import RunTable, keep
from modular_pluralism.runs.setup import Setup
from tests.fake_models import FakeChat, choosing, fake_models

NAMES = ("ann", "bob", "cem")
NEEDS: dict[str, dict[str, Any]] = {
    "overton": {},
    "steerable": {"attribute": "thrift"},
    "distributional": {"options": ["Yes", "No"]},
}
PREFER = {"A": 0.3, "B": 0.1, "1": 0.1, "2": 0.25, "3": 0.05}


class Bench:
    """A store, a pool file whose models are replaced by fakes, and how often each of them is asked."""

    def __init__(self, folder: Path, store: RunStore, **others: BaseChatModel) -> None:
        self.store = store
        self.pool = folder / "pool.toml"
        boss = choosing(lambda seen: PREFER, "All views. The view of ann.")
        self.models = fake_models(boss, NAMES) | others
        text = 'base = "boss"\n'
        for name in ("boss", *NAMES):
            text += f'[models.{name}]\nopenai = "{name}"\nbase_url = "http://127.0.0.1:9/v1"\n'
        for name in NAMES:
            text += f'[communities.{name}]\nmodel = "{name}"\ndescription = "People like {name}"\n'
        self.pool.write_text(f"{text}[run]\nattempts = 1\nquorum = 1\n")

    def request(self, mode: Any = "overton", **more: Any) -> RunRequest:
        given = NEEDS[mode]
        return RunRequest(**{"question": "Is it so?", "mode": mode, "pool": str(self.pool), "seed": 5, **given, **more})

    def asked(self) -> dict[str, int]:
        counts = {}
        for name, model in self.models.items():
            assert isinstance(model, FakeChat)
            counts[name] = len(model.seen)
        return counts

    def asked_since(self, before: dict[str, int]) -> dict[str, int]:
        """How often each model was asked since then; those that were not are left out."""
        return {name: count - before[name] for name, count in self.asked().items() if count > before[name]}


@asynccontextmanager
async def open_bench(folder: Path, **others: BaseChatModel) -> AsyncIterator[Bench]:
    async with open_run_store(find_location(folder / "runs.sqlite"), 10.0) as store:
        yield Bench(folder, store, **others)


async def ask(bench: Bench, request: RunRequest, run: str) -> None:
    """A run as `pluralism ask --thread` keeps it."""
    pool, prompts = Pool.load(bench.pool), PromptSet.load()
    models = PoolModels(pool, bench.models)
    graph = build_graph(request.mode, request.scoring, Edited(pool, prompts, {}), models)
    setup = Setup.of(request.mode, request.scoring, request.asked(), (str(bench.pool), pool), (None, prompts))
    async with bench.store.claim(run):
        await RunTable(bench.store).add(run, setup)
        going = run_graph(
            graph, request.asked(), TerminalView([], quiet=True), "answer", saver=bench.store.saver, thread=run
        )
        await keep(bench.store, run, going)


async def followed(live: LiveRun) -> list[Event]:
    """All events of a run that ends."""
    return [event async for event in live.events()]


def finished(event: object) -> dict[str, Any]:
    """The result of a run of which this is the last event."""
    assert isinstance(event, RunEnded)
    assert event.state == "finished", event
    return event.result


def ended(events: Sequence[Event], state: str) -> list[str]:
    """The nodes that have ended in this state."""
    return [event.node for event in events if isinstance(event, NodeEnded) and event.state == state]
