"""What every node of a kept run was given and what it wrote, as LangGraph has recorded it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from modular_pluralism.debugger.build import build_graph, node_id
from modular_pluralism.errors import StoreError
from modular_pluralism.graphs.node_key import NodeKey
from modular_pluralism.graphs.shape import graph_nodes
from modular_pluralism.graphs.state import BY_COMMUNITY
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.runs.contents import damage, read_checkpoints
from modular_pluralism.runs.edits import Edited
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import RunTable
from modular_pluralism.runs.setup import Setup

Writes = list[tuple[str, Any]]


@dataclass(frozen=True)
class KeptTask:
    """A node that has run: `step` is the superstep of the graph as a whole, `state` what the node was given, and
    `writes` what it wrote, by channel. `id` is what events call it, and `name` what its graph does."""

    id: str
    name: str
    step: int
    state: dict[str, Any]
    writes: Writes


async def read_tasks(store: RunStore, run: str) -> list[KeptTask]:
    """Every node of a run that has finished, in the order of the supersteps. Errors are those of `read_run`."""
    await RunTable(store).get(run)
    return await tasks_of(store, run, await read_checkpoints(store, run))


async def tasks_of(store: RunStore, run: str, checkpoints: list[CheckpointTuple]) -> list[KeptTask]:
    """The same, for those who have the checkpoints. A node that is a branch is left out: those in it are there."""
    rows = await store.fetch(f"SELECT DISTINCT task_id, task_path FROM {store.writes} WHERE thread_id = ?", run)
    paths = {row["task_id"]: row["task_path"] for row in rows}
    if not all(paths.values()):
        raise StoreError(
            f"The run {run} was kept by a version that did not note the nodes of a run, so it cannot be taken apart; "
            f"`pluralism runs show {run}` still shows its result."
        )
    with damage(store, run):
        # LangGraph names a branch after the task that it is, and notes from which checkpoint of the whole it began.
        branches = {namespace(checkpoint).partition(":")[2] for checkpoint in checkpoints}
        ended = {
            checkpoint.checkpoint["id"]: checkpoint.metadata["step"]
            for checkpoint in checkpoints
            if not namespace(checkpoint)
        }
        tasks = []
        for checkpoint in checkpoints:
            began = checkpoint.metadata.get("parents", {}).get("", checkpoint.checkpoint["id"])
            state = {**{key: {} for key in BY_COMMUNITY}, **plain_values(checkpoint)}
            for task, writes in _writes(checkpoint).items():
                if task not in branches and checkpoint.metadata["step"] >= 0:
                    name = _node(paths[task])
                    tasks.append(KeptTask(node_id(name, namespace(checkpoint)), name, ended[began] + 1, state, writes))
        return sorted(tasks, key=lambda task: task.step)


def node_keys(setup: Setup, made_of: Edited, models: PoolModels) -> dict[str, NodeKey]:
    """What every node of the graph that a setup stands for depends on, under the ids that events use."""
    graph = build_graph(setup.mode, setup.scoring, made_of, models, voice=setup.voice)
    return {node.id: node.key for node in graph_nodes(graph) if node.key is not None}


def namespace(checkpoint: CheckpointTuple) -> str:
    """Of the branch that a checkpoint belongs to; empty for the graph as a whole."""
    return str(checkpoint.config["configurable"]["checkpoint_ns"])


def plain_values(checkpoint: CheckpointTuple) -> dict[str, Any]:
    """The state at a checkpoint."""
    values = checkpoint.checkpoint["channel_values"]
    return {key: value for key, value in values.items() if not is_internal(key)}


def is_internal(channel: str) -> bool:
    """Whether a channel is LangGraph's own: an edge, or what it needs for itself."""
    return ":" in channel or channel.startswith("__")


def _writes(checkpoint: CheckpointTuple) -> dict[str, Writes]:
    """What every node wrote after this checkpoint, by its task; nodes that failed are left out."""
    by_task: dict[str, Writes] = {}
    for task, channel, value in checkpoint.pending_writes or []:
        by_task.setdefault(task, []).append((channel, value))
    return {
        task: writes for task, writes in by_task.items() if not any(channel.startswith("__") for channel, _ in writes)
    }


def _node(task_path: str) -> str:
    """The node of a task: LangGraph writes "~__pregel_pull, NODE" of one that an edge has led to."""
    kind, _, node = task_path.partition(", ")
    if kind != "~__pregel_pull":
        raise ValueError(f"no node is noted, but {task_path!r}")
    return node
