"""Runs that are kept: the list of them, one as a whole, and its supersteps one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from pydantic import ValidationError

from modular_pluralism.debugger.build import nodes_of
from modular_pluralism.debugger.kept_tasks import KeptTask, is_internal, namespace, plain_values, tasks_of
from modular_pluralism.debugger.records import reused_nodes
from modular_pluralism.graphs.shape import GraphNode
from modular_pluralism.graphs.state import BY_COMMUNITY
from modular_pluralism.runs.contents import damage, read_checkpoints
from modular_pluralism.runs.edits import Origin
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import ListedRun, RunTable
from modular_pluralism.runs.setup import Setup

_EMPTY: tuple[Any, ...] = (None, {}, [])


@dataclass(frozen=True)
class RunRow:
    """One run in the list. `setup` is None where it cannot be read any more."""

    listed: ListedRun
    setup: Setup | None

    @property
    def origin(self) -> Origin | None:
        """Where a fork comes from."""
        return None if self.setup is None else self.setup.origin


@dataclass(frozen=True)
class Change:
    """A value of the state that a superstep wrote: `key` is its path, such as "comments.news_left"; None: no value."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Superstep:
    """What is known after a superstep: `step` is its number (-1 is the input, before anything ran), `at` when it ended
    (ISO 8601, UTC), `nodes` what ran in it, `state` the state after it and `changes` what it changed.

    `complete` is False for the last one of a run that ended in its midst; the state then has what was written.
    """

    step: int
    at: str
    nodes: list[str]
    state: dict[str, Any]
    changes: list[Change] = field(default_factory=list)
    complete: bool = True


@dataclass(frozen=True)
class KeptRun:
    """A run as the store knows it. `nodes` are those of its graph, `steps` its supersteps, the first one first, and
    `reused` the nodes that were taken over, with the run that each comes from."""

    listed: ListedRun
    setup: Setup
    nodes: list[GraphNode]
    steps: list[Superstep]
    reused: dict[str, str]

    @property
    def state(self) -> dict[str, Any]:
        """The state so far."""
        return self.steps[-1].state if self.steps else self.setup.asked


async def list_runs(store: RunStore) -> list[RunRow]:
    """Every run, the newest first. No checkpoint is read.

    Raises:
        StoreError: the store cannot be read.
    """
    listed = await RunTable(store).all()
    rows = await store.fetch("SELECT id, setup FROM pluralism_runs")
    setups = {row["id"]: row["setup"] for row in rows}
    return [RunRow(row, _setup(setups.get(row.id, ""))) for row in listed]


async def read_run(store: RunStore, run: str) -> KeptRun:
    """One run with its supersteps.

    Raises:
        InputError: there is no such run.
        StoreError: it cannot be read, or is damaged.
    """
    table = RunTable(store)
    listed, setup = await table.get(run), await table.setup(run)
    nodes = nodes_of(setup)
    checkpoints = await read_checkpoints(store, run)
    tasks = await tasks_of(store, run, checkpoints)
    with damage(store, run):
        order = {node.id: index for index, node in enumerate(nodes)}
        tasks.sort(key=lambda task: order.get(task.id, len(order)))
        steps = list(_supersteps(checkpoints, tasks, setup))
    return KeptRun(listed, setup, nodes, steps, await reused_nodes(store, run))


def _supersteps(checkpoints: list[CheckpointTuple], tasks: list[KeptTask], setup: Setup) -> Iterator[Superstep]:
    before: dict[str, Any] = {}
    step, at = -2, ""
    for checkpoint in checkpoints:
        if not namespace(checkpoint):
            step, at = checkpoint.metadata["step"], checkpoint.checkpoint["ts"]
            state = _in_order(setup.asked if step < 0 else plain_values(checkpoint), setup.communities)
            nodes = list(dict.fromkeys(task.id.partition("/")[0] for task in tasks if task.step == step))
            yield Superstep(step, at, nodes, state, list(_changes(before, state)))
            before = state
    unfinished = [task for task in tasks if task.step > step]
    if unfinished:
        state = _in_order(_with_writes(before, unfinished), setup.communities)
        nodes = [task.id for task in unfinished]
        yield Superstep(step + 1, at, nodes, state, list(_changes(before, state)), complete=False)


def _with_writes(state: dict[str, Any], tasks: list[KeptTask]) -> dict[str, Any]:
    """The state with what these nodes wrote."""
    state = dict(state)
    for task in tasks:
        for key, value in task.writes:
            if not is_internal(key):
                merged = isinstance(value, dict) and key in BY_COMMUNITY
                state[key] = {**(state.get(key) or {}), **value} if merged else value
    return state


def _in_order(state: dict[str, Any], communities: list[str]) -> dict[str, Any]:
    """The state with communities in the pool's order, and not in that in which they ended."""
    return {
        key: {name: value[name] for name in communities if name in value}
        if isinstance(value, dict) and {*value} <= {*communities}
        else value
        for key, value in state.items()
    }


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key in {**before, **after}:
        one, other = before.get(key), after.get(key)
        if key in BY_COMMUNITY and (one or other):
            for name in {**(one or {}), **(other or {})}:
                if (one or {}).get(name) != (other or {}).get(name):
                    yield Change(f"{key}.{name}", (one or {}).get(name), (other or {}).get(name))
        elif one != other and not (one in _EMPTY and other in _EMPTY):
            yield Change(key, one, other)


def _setup(text: str) -> Setup | None:
    try:
        return Setup.model_validate_json(text)
    except ValidationError:
        return None
