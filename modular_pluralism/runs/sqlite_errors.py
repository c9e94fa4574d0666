"""SQLite's errors, told as what is wrong with the store and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from modular_pluralism.errors import StoreError


@contextmanager
def sqlite_errors(shown: str, timeout: float) -> Iterator[None]:
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
