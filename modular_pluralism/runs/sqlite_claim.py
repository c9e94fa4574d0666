"""Who is working on a run in a file: an operating system's lock on a small file beside it, one for each run.

SQLite holds the lock, because it does so on every system, and because a lock ends with the process that has it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_PATIENCE = 1.0  # seconds; whoever lists runs looks at each lock for a moment


def take_claim(file: Path) -> sqlite3.Connection | None:
    """A connection that holds the lock until it is closed, or None where another one holds it.

    Raises:
        OSError, sqlite3.Error: the file cannot be made.
    """
    file.parent.mkdir(mode=0o700, exist_ok=True)
    connection = sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        connection.close()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return None
        raise
    return connection


def is_claimed(file: Path) -> bool:
    """Whether somebody holds the lock."""
    if not file.exists():
        return False
    with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except sqlite3.Error as error:
            return error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    return False
