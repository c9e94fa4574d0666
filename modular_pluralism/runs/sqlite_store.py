"""A store in an SQLite file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from modular_pluralism.errors import RunInUseError, StoreError
from modular_pluralism.runs.plain_saver import PlainSaver
from modular_pluralism.runs.plain_serializer import PlainSerializer
from modular_pluralism.runs.run_store import TABLES, Row, RunStore, check_version
from modular_pluralism.runs.sqlite_claim import is_claimed, take_claim


class SqliteSaver(PlainSaver, AsyncSqliteSaver):
    """LangGraph's saver, with plain values only and clear errors."""

    def __init__(self, connection: aiosqlite.Connection, shown: str, timeout: float) -> None:
        super().__init__(connection, serde=PlainSerializer())
        self._shown, self._timeout = shown, timeout
        self._turn = asyncio.Lock()

    def errors(self) -> AbstractContextManager[None]:
        """See PlainSaver."""
        return _sqlite_errors(self._shown, self._timeout)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """One writer at a time, who leaves nothing half-written for the next one to commit."""
        with self.errors():
            async with self._turn:
                try:
                    yield
                except BaseException:
                    with suppress(sqlite3.Error, ValueError):  # the latter where the connection has been closed
                        await self.conn.rollback()
                    raise


class SqliteRunStore(RunStore):
    """See RunStore."""

    writes = "writes"
    written = "value"
    checkpoint_tables = ("checkpoints", "writes")

    def __init__(self, saver: SqliteSaver, path: Path, shown: str) -> None:
        self.saver: SqliteSaver = saver
        self.shown = shown
        self._locks = path.with_name(f"{path.name}.locks")

    async def fetch(self, sql: str, *values: object) -> list[Row]:
        """See RunStore."""
        with self.saver.errors():
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
            with self.saver.errors():
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
        with _sqlite_errors(shown, timeout), closing(sqlite3.connect(path)):
            pass
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise StoreError(_unusable(shown, error)) from error
    connection = aiosqlite.connect(path, timeout=timeout)
    try:
        with _sqlite_errors(shown, timeout):
            await connection
            saver = SqliteSaver(connection, shown, timeout)
            await saver.setup()
            for table in TABLES:
                async with connection.execute(table):
                    pass
        store = SqliteRunStore(saver, path, shown)
        await check_version(store)
        yield store
    finally:
        with suppress(sqlite3.Error, ValueError):  # where it could not be opened there is nothing to close
            await connection.close()


def _unusable(shown: str, error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"The store {shown} cannot be made ({reason}); check the permissions of its folder, or give another --store."


@contextmanager
def _sqlite_errors(shown: str, timeout: float) -> Iterator[None]:
    """Turn what SQLite raises in this block into a StoreError; `timeout` is how many seconds it waits for a lock."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_sentence(error, shown, timeout)) from error


def _sentence(error: sqlite3.Error, shown: str, timeout: float) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    match code & 0xFF if isinstance(code, int) else None:  # the lowest byte is the kind of error
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return (
                f"The store {shown} has been locked by another process for more than {timeout:g} seconds; wait for it, "
                "or give another --store."
            )
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return (
                f"The store {shown} cannot be written ({error}); make room on its disk, and check any limit on the "
                "size of files."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return (
                f"The store {shown} cannot be opened for writing ({error}); check the permissions of the file and its "
                "folder, or give another --store."
            )
        case sqlite3.SQLITE_NOTADB:
            return f"{shown} is no store of runs: it is not an SQLite database; give another --store."
        case sqlite3.SQLITE_CORRUPT:
            return (
                f"The store {shown} is damaged ({error}); put a copy of it back, or move it away and begin a new one."
            )
    return f"The store {shown} cannot be used: {error}; check it, or give another --store."
