"""An open store: LangGraph's checkpoints, and beside them our own tables of the runs that are kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from modular_pluralism.errors import StoreError
from modular_pluralism.runs.plain_saver import PlainSaver

VERSION = 1
"""Of our own tables."""

TABLES = (
    "CREATE TABLE IF NOT EXISTS pluralism_schema (version INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pluralism_runs (id TEXT PRIMARY KEY, created DOUBLE PRECISION NOT NULL, "
    "mode TEXT NOT NULL, question TEXT NOT NULL, communities INTEGER NOT NULL, state TEXT NOT NULL, error TEXT, "
    "setup TEXT NOT NULL)",
    "CREATE INDEX IF NOT EXISTS pluralism_runs_by_time ON pluralism_runs (created)",
    # What a debugger has seen of a run beside its state; each record is JSON.
    "CREATE TABLE IF NOT EXISTS pluralism_records (run TEXT NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, "
    "record TEXT NOT NULL, PRIMARY KEY (run, kind, number))",
)

Row = dict[str, Any]


class RunStore(ABC):
    """What SQLite and Postgres have in common. `shown` is what messages call the store, `saver` holds the checkpoints,
    and `writes` is the name of LangGraph's table of what single nodes have written.

    Every method raises StoreError where the database fails.
    """

    shown: str
    saver: PlainSaver
    writes: str
    written: str
    """The column of `writes` with the value, serialised."""
    checkpoint_tables: tuple[str, ...]
    """Tables in which rows belong to a run by `thread_id`."""

    @abstractmethod
    async def fetch(self, sql: str, *values: object) -> list[Row]:
        """The rows of a query. `?` stands for a value, in both kinds of database."""

    @abstractmethod
    async def change(self, *statements: tuple[str, Sequence[object]]) -> int:
        """Do all of the statements or none; returns how many rows the last one has changed."""

    @abstractmethod
    def claim(self, run: str) -> AbstractAsyncContextManager[None]:
        """Keep other processes from working on a run. When this process ends, in whatever way, the claim ends.

        Raises:
            RunInUseError: somebody else has claimed it.
        """

    @abstractmethod
    async def claimed(self, runs: Sequence[str]) -> set[str]:
        """Those of the runs that somebody is working on."""

    @abstractmethod
    def forget_claim(self, run: str) -> None:
        """Clean up after a run that nobody will work on again; only for the one who has claimed it."""


async def check_version(store: RunStore) -> None:
    """Note the version in a new store.

    Raises:
        StoreError: the store was made by a later version of this package.
    """
    versions = await store.fetch("SELECT version FROM pluralism_schema ORDER BY version DESC")
    if not versions:
        new = "INSERT INTO pluralism_schema SELECT ? WHERE NOT EXISTS (SELECT 1 FROM pluralism_schema)"
        await store.change((new, [VERSION]))
    elif versions[0]["version"] > VERSION:
        raise StoreError(
            f"The store {store.shown} was made by a newer modular-pluralism (its schema is {versions[0]['version']}, "
            f"and this version knows {VERSION}); upgrade with `pip install -U modular-pluralism`, or give another "
            "--store."
        )
