"""Runs that are kept: the list of them, one as a whole, and its supersteps one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from pydantic import ValidationError

from modular_pluralism.debugger.build import has_branches, node_id, picture
from modular_pluralism.debugger.events import NodeInfo
from modular_pluralism.debugger.records import reused_nodes
from modular_pluralism.errors import StoreError
from modular_pluralism.runs.contents import read_contents
from modular_pluralism.runs.edits import Origin
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import ListedRun, RunTable
from modular_pluralism.runs.setup import Setup

_EMPTY: tuple[Any, ...] = (None, {}, [])
_BY_COMMUNITY = ("comments", "distributions", "votes")


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
class KeptRun:
    """A run as the store knows it. `nodes` are the boxes of its graph, and `reused` those that were taken over, with
    the run that each comes from."""

    listed: ListedRun
    setup: Setup
    state: dict[str, Any]
    nodes: list[NodeInfo]
    reused: dict[str, str]


@dataclass(frozen=True)
class Change:
    """A value of the state that a superstep wrote: `key` is its path, such as "comments.news_left"; None: no value."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Step:
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


async def list_runs(store: RunStore) -> list[RunRow]:
    """Every run, the newest first. No checkpoint is read.

    Raises:
        StoreError: the store cannot be read.
    """
    listed = await RunTable(store).all()
    rows = await store.fetch("SELECT id, setup FROM pluralism_runs")
    setups = {row["id"]: row["setup"] for row in rows}
    return [RunRow(each, _setup(setups.get(each.id, ""))) for each in listed]


async def read_run(store: RunStore, run: str) -> KeptRun:
    """One run with its state so far.

    Raises:
        InputError: there is no such run.
        StoreError: it cannot be read, or is damaged.
    """
    table = RunTable(store)
    listed, setup = await table.get(run), await table.setup(run)
    contents = await read_contents(store, run, setup.mode)
    state = _in_order(contents.state or dict(setup.asked), setup.communities)
    boxes = picture(setup.mode, setup.communities, setup.voice)
    return KeptRun(listed, setup, state, boxes, await reused_nodes(store, run))


async def read_steps(store: RunStore, run: str) -> list[Step]:
    """The supersteps of a run, the first one first. Errors are those of `read_run`."""
    table = RunTable(store)
    await table.get(run)
    setup = await table.setup(run)
    found = await _checkpoints(store, run)
    with _damage(store, run):
        return list(_steps(found, setup))


@dataclass(frozen=True)
class KeptTask:
    """A node that has run: `step` is the superstep of the graph as a whole, `state` what the node was given, and
    `writes` what it wrote, by channel. `id` is what events call it, and `name` what its graph does."""

    id: str
    name: str
    step: int
    state: dict[str, Any]
    writes: list[tuple[str, Any]]


async def read_tasks(store: RunStore, run: str) -> list[KeptTask]:
    """Every node of a run that has finished, in the order of the supersteps. Errors are those of `read_run`."""
    table = RunTable(store)
    await table.get(run)
    setup = await table.setup(run)
    found = await _checkpoints(store, run)
    with _damage(store, run):
        return _tasks(found, setup)


@contextmanager
def _damage(store: RunStore, run: str) -> Iterator[None]:
    """Whatever does not look like a checkpoint of ours is a damaged one."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise StoreError(
            f"The run {run} is damaged in {store.shown} ({type(error).__name__}: {error}); `pluralism runs remove "
            f"{run}` removes it."
        ) from error


async def _checkpoints(store: RunStore, run: str) -> list[CheckpointTuple]:
    found = [each async for each in store.saver.alist({"configurable": {"thread_id": run}})]
    return sorted(found, key=lambda each: str(each.checkpoint["id"]))


def _steps(found: list[CheckpointTuple], setup: Setup) -> Iterator[Step]:
    whole = [each for each in found if not _namespace(each)]
    before: dict[str, Any] = {}
    ran_before: Mapping[str, Any] = {}
    for each in whole:
        step = each.metadata["step"]
        ran = each.checkpoint["versions_seen"]
        nodes = [name for name in ran if not name.startswith("__") and ran[name] != ran_before.get(name)]
        values = each.checkpoint["channel_values"]
        state = _in_order(dict(setup.asked) if step < 0 else _plain(values), setup.communities)
        yield Step(step, each.checkpoint["ts"], _ordered(nodes, setup), state, list(_changes(before, state)))
        before, ran_before = state, ran
    if whole and any(each.step > whole[-1].metadata["step"] for each in _tasks(found, setup)):
        yield _unfinished(found, whole[-1], before, setup)


def _unfinished(found: list[CheckpointTuple], last: CheckpointTuple, before: dict[str, Any], setup: Setup) -> Step:
    number = last.metadata["step"] + 1
    tasks = [task for task in _tasks(found, setup) if task.step == number]
    state = dict(before)
    for task in tasks:
        for key, value in task.writes:
            if not _is_channel(key):
                merged = isinstance(value, dict) and key in _BY_COMMUNITY
                state[key] = {**(state.get(key) or {}), **value} if merged else value
    state = _in_order(state, setup.communities)
    nodes = _ordered([task.id for task in tasks], setup)
    return Step(number, last.checkpoint["ts"], nodes, state, list(_changes(before, state)), complete=False)


def _tasks(found: list[CheckpointTuple], setup: Setup) -> list[KeptTask]:
    steps = {task: each.metadata["step"] + 1 for each in found if not _namespace(each) for task in _writes(each)}
    tasks = []
    for each in found:
        namespace = _namespace(each)
        if each.metadata["step"] < 0:
            continue
        for writes in _writes(each).values():
            state = {**_empty(setup), **_plain(each.checkpoint["channel_values"])}
            name = _node(writes, setup, state if namespace else {})
            if has_branches(setup.mode, setup.voice) and not namespace and name in setup.communities:
                continue  # the branch as a whole: its nodes have checkpoints of their own
            # A branch bears the number of the task that it is.
            step = steps.get(namespace.partition(":")[2], -2) if namespace else each.metadata["step"] + 1
            if namespace and step == -2:
                step = _branch_step(found)
            tasks.append(KeptTask(node_id(name, namespace), name, step, state, writes))
    return sorted(tasks, key=lambda task: task.step)


def _branch_step(found: list[CheckpointTuple]) -> int:
    """The superstep that a branch which never ended belongs to: the one after the last."""
    return max((each.metadata["step"] for each in found if not _namespace(each)), default=0) + 1


def _writes(each: CheckpointTuple) -> dict[str, list[tuple[str, Any]]]:
    """What every node wrote after this checkpoint, by its task; nodes that failed are left out."""
    by_task: dict[str, list[tuple[str, Any]]] = {}
    for task, channel, value in each.pending_writes or []:
        by_task.setdefault(task, []).append((channel, value))
    return {
        task: writes for task, writes in by_task.items() if not any(channel.startswith("__") for channel, _ in writes)
    }


def _node(writes: list[tuple[str, Any]], setup: Setup, before: Mapping[str, Any]) -> str:
    """Which node has written this: LangGraph notes a number of its own only. `before` is a branch's state before."""
    values = dict(writes)
    if values.get("weights"):
        return "aggregate"
    if values.get("comments"):
        name = str(next(iter(values["comments"])))
        if name not in (before.get("comments") or {}):
            return name
        # A comment that could not be scored, or whose community could not vote then, gets an error.
        return "vote" if name in (before.get("distributions") or {}) else "score"
    if values.get("votes"):
        return "vote"
    if values.get("distributions"):
        return str(next(iter(values["distributions"]))) if setup.voice == "vote" else "score"
    if values.get("selected"):
        return "select"
    if values.get("answer") is not None:
        return "merge" if setup.mode == "overton" else "respond"
    return "check"


def _empty(setup: Setup) -> dict[str, Any]:
    """What LangGraph gives a node of a channel with a reducer that nobody has written to."""
    votes: dict[str, Any] = {"votes": {}} if setup.voice == "both" else {}
    return {"comments": {}, **({"distributions": {}, **votes} if setup.mode == "distributional" else {})}


def _namespace(each: CheckpointTuple) -> str:
    return str(each.config["configurable"]["checkpoint_ns"])


def _is_channel(key: str) -> bool:
    """Whether this is LangGraph's own: an edge, or what it needs for itself."""
    return ":" in key or key.startswith("__")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if not _is_channel(key)}


def _in_order(state: dict[str, Any], communities: list[str]) -> dict[str, Any]:
    """The state with communities in the pool's order, and not in that in which they ended."""
    for key in (*_BY_COMMUNITY, "readings"):
        if isinstance(state.get(key), dict):
            state[key] = {name: state[key][name] for name in communities if name in state[key]}
    return state


def _ordered(nodes: list[str], setup: Setup) -> list[str]:
    order = [box.id for box in picture(setup.mode, setup.communities, setup.voice)]
    return sorted(dict.fromkeys(nodes), key=lambda node: order.index(node) if node in order else len(order))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key in {**before, **after}:
        one, other = before.get(key), after.get(key)
        if key in _BY_COMMUNITY and (one or other):
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
