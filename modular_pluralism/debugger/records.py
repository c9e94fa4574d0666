"""What the debugger keeps beside a run in its store: records of model calls, and which nodes were taken over."""

from __future__ import annotations

import json
from typing import Any, Literal, cast

from modular_pluralism.debugger.record import CallRecord
from modular_pluralism.errors import StoreError
from modular_pluralism.runs.run_store import RunStore

Kind = Literal["call", "reused"]


async def add_record(store: RunStore, run: str, kind: Kind, number: int, record: Any) -> None:
    """Keep a record of plain values; records of a kind are numbered within their run.

    Raises:
        StoreError: the store cannot be written.
    """
    sql = "INSERT INTO pluralism_records (run, number, kind, record) VALUES (?, ?, ?, ?)"
    await store.change((sql, [run, number, kind, json.dumps(record)]))


async def own_calls(store: RunStore, run: str) -> list[CallRecord]:
    """The calls of this run itself, in the order in which they ended."""
    return [cast(CallRecord, record) for record in await _records(store, run, "call")]


async def reused_nodes(store: RunStore, run: str) -> dict[str, str]:
    """The nodes that were not run in a fork, and the run that each was taken over from."""
    return {record["node"]: record["source"] for record in await _records(store, run, "reused")}


async def _records(store: RunStore, run: str, kind: Kind) -> list[Any]:
    rows = await store.fetch(
        "SELECT record FROM pluralism_records WHERE run = ? AND kind = ? ORDER BY number", run, kind
    )
    try:
        return [json.loads(row["record"]) for row in rows]
    except ValueError as error:
        raise StoreError(
            f"The records of the run {run} are damaged in {store.shown}; `pluralism runs remove {run}` removes it."
        ) from error
