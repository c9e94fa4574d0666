"""What has been computed, on disk as soon as it is there: a run that was killed goes on where it was.

An SQLite file. Results stand under what made them (a method, a judge) and the item's place in the task file; what was
computed is never changed. What the run depends on is kept beside them, so that results of different runs cannot mix.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modular_pluralism.errors import EvaluationError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    maker TEXT NOT NULL, place INTEGER NOT NULL, result TEXT NOT NULL, PRIMARY KEY (maker, place)
) WITHOUT ROWID;
"""


class Journal:
    """Results by maker and place. For one thread; open it in a `with` block.

    Raises:
        EvaluationError: the file cannot be opened or written, another process has it, or it belongs to a run with other
            settings; the message names them.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        try:
            self._store = sqlite3.connect(path, isolation_level=None, timeout=5)
            # One run at a time: two would compute the same items.
            self._store.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._store.execute("PRAGMA journal_mode = WAL")
            self._store.execute("PRAGMA synchronous = NORMAL")
            self._store.executescript(_SCHEMA)
            self._check(facts)
        except sqlite3.Error as error:
            raise self._error(error) from None

    def _check(self, facts: Mapping[str, Any]) -> None:
        known = {name: self._read(value) for name, value in self._store.execute("SELECT name, value FROM facts")}
        wanted = json.loads(json.dumps(facts))
        if not known:
            rows = [(name, json.dumps(value)) for name, value in wanted.items()]
            self._store.execute("BEGIN IMMEDIATE")  # all of them or none
            self._store.executemany("INSERT INTO facts VALUES (?, ?)", rows)
            self._store.execute("COMMIT")
            return
        for name in [*wanted, *known]:
            if known.get(name) != wanted.get(name):
                raise EvaluationError(
                    f"{self.path.parent} holds an evaluation with another {name} ({_short(known.get(name))} there, "
                    f"{_short(wanted.get(name))} now); give another --out, or remove that folder."
                )

    def get(self, maker: str, place: int) -> Any | None:
        """The result at that place, or None."""
        row = self._run("SELECT result FROM results WHERE maker = ? AND place = ?", (maker, place)).fetchone()
        return None if row is None else self._read(row[0])

    def put(self, maker: str, place: int, result: Any) -> None:
        """Keep a result for good."""
        # Escaped, since a reply may hold what UTF-8 cannot.
        text = json.dumps(result, allow_nan=False)
        self._run("INSERT INTO results VALUES (?, ?, ?)", (maker, place, text))

    def replace(self, maker: str, place: int, result: Any) -> None:
        """Keep what somebody has said, in place of what they said before."""
        self._run("REPLACE INTO results VALUES (?, ?, ?)", (maker, place, json.dumps(result, allow_nan=False)))

    def count(self, maker: str, end: int) -> int:
        """How many results there are at places below `end`."""
        row = self._run("SELECT count(*) FROM results WHERE maker = ? AND place < ?", (maker, end)).fetchone()
        return int(row[0])

    def has_all(self, maker: str, begin: int, end: int) -> bool:
        """Whether there is a result for every place from `begin` to before `end`."""
        query = "SELECT count(*) FROM results WHERE maker = ? AND place >= ? AND place < ?"
        return int(self._run(query, (maker, begin, end)).fetchone()[0]) == end - begin

    def results(self, maker: str, end: int) -> Iterator[Any]:
        """The results at places below `end`, in order, read as they are asked for."""
        rows = self._run("SELECT result FROM results WHERE maker = ? AND place < ? ORDER BY place", (maker, end))
        for (text,) in rows:
            yield self._read(text)

    def forget_failures(self, maker: str) -> None:
        """Drop the results that have an error, so that they are tried again."""
        self._run("DELETE FROM results WHERE maker = ? AND json_extract(result, '$.error') IS NOT NULL", (maker,))

    def _read(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self._damaged("a result in it is not JSON") from None

    def _run(self, query: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        try:
            return self._store.execute(query, values)
        except sqlite3.Error as error:
            raise self._error(error) from None

    def _error(self, error: sqlite3.Error) -> EvaluationError:
        if "locked" in str(error):
            return EvaluationError(f"{self.path} is in use by another run; wait for it, or give another --out.")
        name = getattr(error, "sqlite_errorname", None) or ""
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
            return EvaluationError(
                f"{self.path} cannot be used ({error}); make room, check its permissions, or give another --out."
            )
        return self._damaged(str(error))

    def _damaged(self, what: str) -> EvaluationError:
        return EvaluationError(
            f"{self.path} cannot be used, since it is damaged or no journal of an evaluation ({what}); give another "
            "--out, or remove that folder to compute everything again."
        )

    def close(self) -> None:
        """Close the file."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
