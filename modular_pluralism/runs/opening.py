"""Opening a store of runs, wherever it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from modular_pluralism.checked import checked
from modular_pluralism.errors import InputError, StoreError
from modular_pluralism.runs.location import STORE_VARIABLE, StoreLocation, find_location, find_timeout
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.sqlite_store import open_sqlite


@checked
@asynccontextmanager
async def open_store(
    location: str | Path | None = None, *, timeout: float | None = None
) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """A checkpointer for graphs, in a file or in Postgres. Checkpoints hold plain values and
    messages only.

    It is for asynchronous use (`ainvoke`, `astream`); run graphs with `durability="sync"`, so that a step is in the
    store before the next one begins.

    Args:
        location: A file or a postgresql:// address (None: what the environment variable MODULAR_PLURALISM_STORE
            names, else a file of this user).
        timeout: Seconds to wait for a file that another process has locked (None: MODULAR_PLURALISM_STORE_TIMEOUT, else
            30).

    Returns:
        An asynchronous context manager that gives the checkpointer.

    Raises:
        InputError: The location is no usable address.
        StoreError: The store cannot be opened, read or written, or holds something that must not be read.

    Example:
        ```python
        import asyncio

        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_overton, open_store

        mine = FakeListChatModel(responses=["any LangChain chat model"])


        async def main() -> None:
            async with open_store("runs.sqlite") as saver:
                graph = build_overton(models={"smollm2": mine}).compile(checkpointer=saver)
                thread = {"configurable": {"thread_id": "wages"}}
                await graph.ainvoke({"question": "Should wages be public?"}, thread, durability="sync")


        asyncio.run(main())
        ```
    """
    async with open_run_store(find_location(location), find_timeout() if timeout is None else timeout) as store:
        yield store.saver


def open_run_store(location: StoreLocation, timeout: float) -> AbstractAsyncContextManager[RunStore]:
    """The whole store. Arguments and errors are those of `open_store`."""
    if location.url is None:
        assert location.path is not None
        return open_sqlite(location.path, location.shown, timeout)
    try:
        from modular_pluralism.runs.postgres_store import open_postgres
    except ImportError:
        raise StoreError(
            "Runs are kept in Postgres by an extra that is not installed; run `pip install "
            "'modular-pluralism[postgres]'` first."
        ) from None
    return open_postgres(location.url, location.shown, timeout)


@asynccontextmanager
async def open_kept(location: str | None) -> AsyncIterator[RunStore]:
    """The store in which runs are kept already, for looking at them or going on with them.

    Raises:
        InputError: there is no such file. The rest is as for `open_store`.
    """
    store_location = find_location(location)
    if store_location.path is not None and not store_location.path.exists():
        raise InputError(f"There is no store {store_location.shown}; check --store and {STORE_VARIABLE}.")
    async with open_run_store(store_location, find_timeout()) as store:
        yield store
