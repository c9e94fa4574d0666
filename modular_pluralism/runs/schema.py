"""Our own tables in a store, and which version of them this is."""

from __future__ import annotations

from modular_pluralism.errors import StoreError
from modular_pluralism.runs.run_store import RunStore

VERSION = 1

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


async def check_version(store: RunStore) -> None:
    """Note the version in a new store.

    Raises:
        StoreError: the store was made by a later version of this package.
    """
    found = await store.fetch("SELECT version FROM pluralism_schema ORDER BY version DESC")
    if not found:
        new = "INSERT INTO pluralism_schema SELECT ? WHERE NOT EXISTS (SELECT 1 FROM pluralism_schema)"
        await store.change((new, [VERSION]))
    elif found[0]["version"] > VERSION:
        raise StoreError(
            f"The store {store.shown} was made by a newer modular-pluralism (its schema is {found[0]['version']}, and "
            f"this version knows {VERSION}); upgrade with `pip install -U modular-pluralism`, or give another --store."
        )
