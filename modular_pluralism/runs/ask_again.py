"""Forgetting that communities have failed, so that a run that lacked its quorum asks them again.

LangGraph goes on after the last checkpoint with the nodes of which it has no writes. So the run is taken back to the
checkpoint before the communities were asked, and what the failed ones wrote since then is removed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from langchain_core.runnables import RunnableConfig

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
    config: RunnableConfig = {"configurable": {"thread_id": run, "checkpoint_ns": ""}}
    for before in [checkpoint async for checkpoint in store.saver.alist(config)]:
        said = {task: value for task, channel, value in before.pending_writes or [] if channel == "comments" and value}
        if said:  # communities were asked after this checkpoint
            tasks = [task for task, comments in said.items() if set(comments) <= set(failed)]
            await store.change(*_statements(store, run, before.checkpoint["id"], tasks, failed))
            return


def _statements(
    store: RunStore, run: str, checkpoint: str, tasks: Sequence[str], failed: Collection[str]
) -> Iterator[Statement]:
    for table in store.checkpoint_tables:
        yield (
            f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id > ?",
            [run, checkpoint],
        )
        for name in failed:  # what its branch has kept of its own work
            of_branch = f"DELETE FROM {table} WHERE thread_id = ? AND substr(checkpoint_ns, 1, ?) = ?"
            yield of_branch, [run, len(name) + 1, f"{name}:"]
    for task in tasks:
        yield (
            f"DELETE FROM {store.writes} WHERE thread_id = ? AND checkpoint_ns = '' AND checkpoint_id = ? "
            "AND task_id = ?",
            [run, checkpoint, task],
        )
