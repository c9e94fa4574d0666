"""Forgetting that communities have failed, so that a run that lacked its quorum asks them again.

LangGraph goes on after the last checkpoint with the nodes of which it has no writes. So the run is taken back to the
checkpoint before the communities were asked, and what the failed ones wrote since then is removed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from langgraph.checkpoint.base import CheckpointTuple

from modular_pluralism.pool import Pool
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.types import Comment

Statement = tuple[str, Sequence[object]]


def out_of_reach(comments: Mapping[str, Comment], pool: Pool) -> list[str]:
    """The communities that have failed, if the quorum cannot be reached without them; else none."""
    failed = [name for name in pool.communities if name in comments and comments[name]["error"] is not None]
    return failed if len(pool.communities) - len(failed) < pool.quorum else []


async def ask_again(store: RunStore, run: str, failed: Collection[str]) -> None:
    """Have `failed` communities, which have left comments with an error, be asked again when the run goes on.

    Raises:
        StoreError: the store cannot be read or written.
    """
    if not failed:
        return
    found = [each async for each in store.saver.alist({"configurable": {"thread_id": run, "checkpoint_ns": ""}})]
    before = next((each for each in found if _comments_after(each)), None)
    if before is None:
        return
    checkpoint = before.checkpoint["id"]
    statements: list[Statement] = [
        (f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id > ?", [run, checkpoint])
        for table in store.checkpoint_tables
    ]
    for task in _tasks_of(before, failed):
        statements.append(
            (
                f"DELETE FROM {store.writes} WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id = ? "
                "AND task_id = ?",
                [run, checkpoint, task],
            )
        )
    for name in failed:  # what its branch has kept of its own work
        statements += [
            (
                f"DELETE FROM {table} WHERE thread_id = ? AND substr(checkpoint_ns, 1, ?) = ?",
                [run, len(name) + 1, f"{name}:"],
            )
            for table in store.checkpoint_tables
        ]
    await store.change(*statements)


def _comments_after(found: CheckpointTuple) -> bool:
    """Whether communities were asked after this checkpoint."""
    return any(channel == "comments" and value for _, channel, value in found.pending_writes or [])


def _tasks_of(found: CheckpointTuple, communities: Collection[str]) -> set[str]:
    return {
        task
        for task, channel, value in found.pending_writes or []
        if channel == "comments" and value and set(value) <= set(communities)
    }
