"""Who is editing a pool file or a contract: one process at a time, from reading it to replacing it.

SQLite holds the operating system's lock on a small file beside it, because it does so on every system, and
because a lock ends with the process that has it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from modular_pluralism.errors import ConfigurationError, PoolError

_PATIENCE = 30.0
"""Seconds to wait for another one's edit, which takes less than one."""
_in_this_process = threading.Lock()
"""An operating system's lock belongs to a whole process, and goes with any closing of the file in it."""


@contextmanager
def alone_at(path: Path, kind: type[ConfigurationError] = PoolError) -> Iterator[None]:
    """Nobody else edits the file at `path` within this block.

    Raises:
        ConfigurationError: of this kind: another one does so for long, or no lock can be made beside the file.
    """
    file = path.resolve()  # behind a link stands the file that is meant
    lock = file.with_name(f".{file.name}.lock")
    with _in_this_process, contextlib.ExitStack() as held:
        try:
            while not held.enter_context(_locked(lock)):
                held.close()
            held.callback(_remove, lock)
        except (OSError, sqlite3.Error) as error:
            raise _refused(path, error, kind) from error
        yield


@contextmanager
def _locked(lock: Path) -> Iterator[bool]:
    """Hold the lock, and tell whether it is of the file that is there now: whoever had it before has removed theirs."""
    # Open until the end, so that no other file is taken for this one.
    number = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        with closing(sqlite3.connect(lock, timeout=_PATIENCE, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error:
                if _is_at(number, lock):
                    raise
            yield _is_at(number, lock)
    finally:
        os.close(number)


def _is_at(number: int, lock: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), lock.stat())
    except FileNotFoundError:
        return False


def _remove(lock: Path) -> None:
    with contextlib.suppress(OSError):  # as on Windows, where others wait for it
        lock.unlink()


def _refused(path: Path, error: OSError | sqlite3.Error, kind: type[ConfigurationError]) -> ConfigurationError:
    if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
        return kind(f"{path} is being edited by another process; try again when that has ended")
    why = getattr(error, "strerror", None) or error
    return kind(f"{path} cannot be written ({why}); make room, or allow writing it")
