"""A store in a Postgres database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from hashlib import blake2b

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import DictRow, dict_row

from modular_pluralism.errors import InputError, RunInUseError, StoreError
from modular_pluralism.models.redaction import redact
from modular_pluralism.runs.location import MALFORMED_ADDRESS
from modular_pluralism.runs.plain_saver import PlainSaver
from modular_pluralism.runs.plain_serializer import PlainSerializer
from modular_pluralism.runs.run_store import TABLES, Row, RunStore, check_version

_CONNECT_SECONDS = 10
Connection = psycopg.AsyncConnection[DictRow]


class PostgresSaver(PlainSaver, AsyncPostgresSaver):
    """LangGraph's saver, with plain values only and clear errors."""

    def __init__(self, connection: Connection, shown: str) -> None:
        super().__init__(connection, serde=PlainSerializer())
        self._shown = shown

    def errors(self) -> AbstractContextManager[None]:
        """See PlainSaver."""
        return _postgres_errors(self._shown)


class PostgresRunStore(RunStore):
    """See RunStore. A claim is an advisory lock of the session, which ends with the connection, and so with the
    process."""

    writes = "checkpoint_writes"
    written = "blob"
    checkpoint_tables = ("checkpoints", "checkpoint_writes")

    def __init__(self, saver: PostgresSaver, connection: Connection, shown: str) -> None:
        self.saver: PostgresSaver = saver
        self.shown = shown
        self._connection = connection

    async def fetch(self, sql: str, *values: object) -> list[Row]:
        """See RunStore."""
        with self.saver.errors():
            async with self.saver.lock, self._connection.cursor() as cursor:
                await cursor.execute(_for_psycopg(sql), values)
                return await cursor.fetchall()

    async def change(self, *statements: tuple[str, Sequence[object]]) -> int:
        """See RunStore."""
        changed = 0
        with self.saver.errors():
            async with self.saver.lock, self._connection.transaction(), self._connection.cursor() as cursor:
                for sql, values in statements:
                    await cursor.execute(_for_psycopg(sql), values)
                    changed = cursor.rowcount
        return changed

    @asynccontextmanager
    async def claim(self, run: str) -> AsyncIterator[None]:
        """See RunStore."""
        key = _lock_key(run)
        if not (await self.fetch("SELECT pg_try_advisory_lock(?) AS taken", key))[0]["taken"]:
            raise RunInUseError(f"Another process is at work on the run {run}; wait for it, or stop it first.")
        try:
            yield
        finally:
            if not self._connection.closed:
                await self.fetch("SELECT pg_advisory_unlock(?)", key)

    async def claimed(self, runs: Sequence[str]) -> set[str]:
        """See RunStore."""
        rows = await self.fetch(
            "SELECT (classid::bigint << 32) | objid::bigint AS key FROM pg_locks "
            "WHERE locktype = 'advisory' AND objsubid = 1 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        keys = {row["key"] for row in rows}
        return {run for run in runs if _lock_key(run) in keys}

    def forget_claim(self, run: str) -> None:
        """See RunStore."""


@asynccontextmanager
async def open_postgres(url: str, shown: str, timeout: float) -> AsyncIterator[PostgresRunStore]:
    """The store in the database at this address; its tables are made where there are none.

    Raises:
        InputError: the address is malformed.
        StoreError: the database cannot be used.
    """
    with _postgres_errors(shown):
        connection = await _connect(url, timeout)
    try:
        with _postgres_errors(shown):
            saver = PostgresSaver(connection, shown)
            await _make_tables(connection, saver)
        store = PostgresRunStore(saver, connection, shown)
        await check_version(store)
        yield store
    finally:
        await connection.close()


async def _connect(url: str, timeout: float) -> Connection:
    try:
        return await asyncio.wait_for(
            psycopg.AsyncConnection.connect(
                url,
                autocommit=True,
                prepare_threshold=0,
                row_factory=dict_row,
                connect_timeout=_CONNECT_SECONDS,
                options=f"-c lock_timeout={int(timeout * 1000)}",
            ),
            _CONNECT_SECONDS * 3,
        )
    except psycopg.ProgrammingError:  # its text may hold a part of the password
        raise InputError(MALFORMED_ADDRESS) from None
    except TimeoutError:
        raise psycopg.OperationalError("it does not answer") from None


async def _make_tables(connection: Connection, saver: PostgresSaver) -> None:
    """Under a lock, since two processes that make the same table at the same time get in each other's way."""
    key = _lock_key("tables of a store")
    await connection.execute("SELECT pg_advisory_lock(%s)", [key])
    try:
        await saver.setup()
        for table in TABLES:
            await connection.execute(_for_psycopg(table))
    finally:
        if not connection.closed:
            await connection.execute("SELECT pg_advisory_unlock(%s)", [key])


def _for_psycopg(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


def _lock_key(run: str) -> int:
    """A signed number of 64 bits, as Postgres takes it."""
    return int.from_bytes(blake2b(f"modular-pluralism:{run}".encode(), digest_size=8).digest(), signed=True)


@contextmanager
def _postgres_errors(shown: str) -> Iterator[None]:
    """Turn what psycopg raises in this block into a StoreError."""
    try:
        yield
    except psycopg.Error as error:
        # Not as its cause: a traceback would show the address with its password.
        raise StoreError(f"The store {shown} {_sentence(error)}") from None


def _sentence(error: psycopg.Error) -> str:
    said = redact(" ".join(str(error).split())).rstrip(" .")
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return "has been locked by another process for too long; wait for it, and try again."
    if isinstance(error, psycopg.errors.DiskFull):
        return f"cannot be written ({said}); make room on the server's disk."
    if isinstance(error, psycopg.OperationalError):
        return f"cannot be reached ({said}); check that the server runs, and the address of the store."
    return f"cannot be used ({said}); check the database and this user's rights in it."
