"""The model calls of a kept run: as they were recorded, or made again from its checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from modular_pluralism.debugger.build import OwnModels, nodes_of
from modular_pluralism.debugger.kept_tasks import KeptTask, node_keys, read_tasks
from modular_pluralism.debugger.records import CallKind, CallRecord, own_calls, reused_nodes
from modular_pluralism.debugger.watch import sent_prompts
from modular_pluralism.errors import PluralismError
from modular_pluralism.graphs.node_key import NodeKey
from modular_pluralism.graphs.shape import GraphNode
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.models.redaction import without_keys
from modular_pluralism.modes import shown_answer
from modular_pluralism.nodes.ask import ModelCall
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import RunTable
from modular_pluralism.runs.setup import Setup
from modular_pluralism.types import Usage

REBUILT = "This call was not recorded: its prompt was made again from the checkpoints."


async def read_calls(store: RunStore, run: str, *, models: OwnModels = None) -> list[CallRecord]:
    """The calls of a run, those of nodes that it has taken over from its parent included, in the graph's order.

    What the debugger did not watch (a run of `pluralism ask --thread`, or its end by `pluralism resume`) has no
    records: the prompts are rendered again from the checkpoints, which is exact as long as pool and prompts have not
    changed; an embedded model is loaded for it. Where they have changed, there are no prompts. The `note` says which.

    Raises:
        InputError: there is no such run.
        StoreError: it cannot be read.
    """
    await RunTable(store).get(run)
    calls = await own_calls(store, run)
    reused = await reused_nodes(store, run)
    for source in dict.fromkeys(reused.values()):
        taken = {node for node, origin in reused.items() if origin == source}
        try:
            of_parent = await read_calls(store, source, models=models)
        except PluralismError:  # the parent has been removed
            continue
        calls = [*(call for call in of_parent if call.node in taken), *calls]
    setup = await RunTable(store).setup(run)
    calls += await _rebuilt_calls(store, run, setup, {call.node for call in calls}, models)
    order = {node.id: index for index, node in enumerate(nodes_of(setup))}
    return sorted(calls, key=lambda call: (order.get(call.node, len(order)), call.number))


async def _rebuilt_calls(
    store: RunStore, run: str, setup: Setup, recorded: set[str], models: OwnModels
) -> list[CallRecord]:
    """The first call of every node that has run without a record, with what the checkpoints know of its outcome."""
    passed_over = {*setup.edits.comments, *setup.edits.kept, *recorded}
    nodes = {node.id: node for node in nodes_of(setup) if node.prompts and node.id not in passed_over}
    tasks = [task for task in await read_tasks(store, run) if task.id in nodes]
    return await asyncio.to_thread(_rebuilt, run, setup, tasks, nodes, models) if tasks else []


def _rebuilt(
    run: str, setup: Setup, tasks: Sequence[KeptTask], nodes: Mapping[str, GraphNode], models: OwnModels
) -> list[CallRecord]:
    try:
        made_of = setup.load()
        keys = node_keys(setup, made_of, PoolModels(made_of.pool, models))
        asked = [_asked_again(run, task, nodes[task.id], keys[task.id]) for task in tasks]
    except PluralismError as error:
        asked = [_unknown(run, task, nodes[task.id], str(error)) for task in tasks]
    records = [record for record in asked if record is not None]
    for number, record in enumerate(records, start=1):
        record.number = number
    return records


def _asked_again(run: str, task: KeptTask, node: GraphNode, key: NodeKey) -> CallRecord | None:
    """The record of a node's first call; None of a node that asks no model of the pool, as one with a given comment or
    a stage of the application's own."""
    call = key.asks(task.state)
    if not isinstance(call, ModelCall) or not isinstance(call.model, PoolModel):
        return None
    given = call.given
    kind: CallKind = "chat" if "messages" in given else "label_probabilities" if "labels" in given else "text_logprobs"
    prompts = given.get("prompts") or [prompt for key in ("messages", "prompt") if (prompt := given.get(key))]
    record = _record(run, node, kind)
    record.model = without_keys(call.model.place)
    record.labels, record.texts = given.get("labels"), given.get("texts")
    record.settings = dict(given.get("settings") or {})
    record.prompts, note = sent_prompts(prompts, call.model, record.settings, load=True)
    record.note = " ".join(filter(None, [REBUILT, note]))
    return _with_outcome(record, task)


def _unknown(run: str, task: KeptTask, node: GraphNode, why: str) -> CallRecord:
    """The record of a call whose prompt cannot be made again."""
    reading = node.role in ("select", "score", "vote") or bool(dict(task.writes).get("choice"))
    kind: CallKind = "label_probabilities" if reading else "chat"
    record = _record(run, node, kind)
    record.note = f"This call was not recorded, and its prompt cannot be made again. {why}"
    return _with_outcome(record, task)


def _record(run: str, node: GraphNode, kind: CallKind) -> CallRecord:
    return CallRecord(run=run, node=node.id, community=node.community, role=node.role, kind=kind, rebuilt=True)


def _with_outcome(record: CallRecord, task: KeptTask) -> CallRecord:
    """What a comment or an answer in the checkpoints tells of the call."""
    values = dict(task.writes)
    usage: Any = (values.get("comments") or {}).get(task.name) or values.get("usage") or {}
    if record.kind != "chat" or not usage:
        return record
    record.reply = usage.get("text") or shown_answer(values) or None
    record.reasoning = usage.get("reasoning")
    for key in get_type_hints(Usage):
        setattr(record, key, usage[key])
    record.errors = [usage["error"]] if usage.get("error") else []
    return record
