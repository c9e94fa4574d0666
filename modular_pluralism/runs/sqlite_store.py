"""A store in an SQLite file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from modular_pluralism.errors import RunInUseError, StoreError
from modular_pluralism.runs.plain_serializer import PlainSerializer
from modular_pluralism.runs.run_store import Row, RunStore
from modular_pluralism.runs.schema import TABLES, check_version
from modular_pluralism.runs.sqlite_claim import is_claimed, take_claim
from modular_pluralism.runs.sqlite_errors import sqlite_errors


class SqliteSaver(AsyncSqliteSaver):
    """LangGraph's saver, with plain values only and clear errors."""

    def __init__(self, connection: aiosqlite.Connection, shown: str, timeout: float) -> None:
        super().__init__(connection, serde=PlainSerializer())
        self._shown, self._timeout = shown, timeout
        self._turn = asyncio.Lock()

    def with_allowlist(self, extra_allowlist: object) -> SqliteSaver:
        """Itself: no class is ever made from a checkpoint, so there is no list of allowed ones."""
        return self

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """One writer at a time, who leaves nothing half-written for the next one to commit."""
        with sqlite_errors(self._shown, self._timeout):
            async with self._turn:
                try:
                    yield
                except BaseException:
                    with suppress(sqlite3.Error, ValueError):  # the latter where the connection has been closed
                        await self.conn.rollback()
                    raise

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See LangGraph."""
        with sqlite_errors(self._shown, self._timeout):
            return await super().aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See LangGraph."""
        with sqlite_errors(self._shown, self._timeout):
            async for each in super().alist(config, filter=filter, before=before, limit=limit):
                yield each

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See LangGraph."""
        async with self.writing():
            return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See LangGraph."""
        async with self.writing():
            await super().aput_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """See LangGraph."""
        async with self.writing():
            await super().adelete_thread(thread_id)


class SqliteRunStore(RunStore):
    """See RunStore."""

    writes = "writes"
    written = "value"
    checkpoint_tables = ("checkpoints", "writes")

    def __init__(self, saver: SqliteSaver, path: Path, shown: str, timeout: float) -> None:
        self.saver: SqliteSaver = saver
        self.shown = shown
        self._locks = path.with_name(f"{path.name}.locks")
        self._timeout = timeout

    async def fetch(self, sql: str, *values: object) -> list[Row]:
        """See RunStore."""
        with sqlite_errors(self.shown, self._timeout):
            async with self.saver.lock, self.saver.conn.execute(sql, values) as cursor:
                names = [column[0] for column in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]

    async def change(self, *statements: tuple[str, Sequence[object]]) -> int:
        """See RunStore."""
        changed = 0
        async with self.saver.writing(), self.saver.lock:
            for sql, values in statements:
                async with self.saver.conn.execute(sql, values) as cursor:
                    changed = cursor.rowcount
            await self.saver.conn.commit()
        return changed

    @asynccontextmanager
    async def claim(self, run: str) -> AsyncIterator[None]:
        """See RunStore."""
        try:
            with sqlite_errors(self.shown, self._timeout):
                lock = await asyncio.to_thread(take_claim, self._locks / run)
        except OSError as error:
            raise StoreError(_unusable(str(self._locks), error)) from error
        if lock is None:
            raise RunInUseError(f"Another process is at work on the run {run}; wait for it, or stop it first.")
        with closing(lock):
            yield

    async def claimed(self, runs: Sequence[str]) -> set[str]:
        """See RunStore."""
        return {run for run in runs if is_claimed(self._locks / run)}

    def forget_claim(self, run: str) -> None:
        """See RunStore."""
        # Whoever had opened the file before finds that the run is finished or gone, and leaves it alone.
        with suppress(OSError):  # on some systems an open file cannot be removed: then it stays, empty
            (self._locks / run).unlink(missing_ok=True)


@asynccontextmanager
async def open_sqlite(path: Path, shown: str, timeout: float) -> AsyncIterator[SqliteRunStore]:
    """The store in a file, which is made where there is none, readable by this user only.

    Raises:
        StoreError: it cannot be used.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        # Here first: aiosqlite's thread is still busy giving up when its error arrives.
        with sqlite_errors(shown, timeout), closing(sqlite3.connect(path)):
            pass
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise StoreError(_unusable(shown, error)) from error
    connection = aiosqlite.connect(path, timeout=timeout)
    try:
        with sqlite_errors(shown, timeout):
            await connection
            saver = SqliteSaver(connection, shown, timeout)
            await saver.setup()
            for table in TABLES:
                async with connection.execute(table):
                    pass
        store = SqliteRunStore(saver, path, shown, timeout)
        await check_version(store)
        yield store
    finally:
        with suppress(sqlite3.Error, ValueError):  # where it could not be opened there is nothing to close
            await connection.close()


def _unusable(shown: str, error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"The store {shown} cannot be made ({reason}); check the permissions of its folder, or give another --store."
