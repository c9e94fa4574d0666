"""The journal: what was computed survives, and two different runs cannot mix."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.errors import EvaluationError
from modular_pluralism.evaluation.run.journal import Journal

FACTS = {"seed": 1, "pool": {"a": [1, 2]}}


def test_results_are_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path, FACTS) as journal:
        journal.put("vanilla", 1, {"error": None, "text": "ä"})
        journal.put("vanilla", 0, {"error": "no"})
        journal.put("moe", 7, {"error": None})
    with Journal(path, FACTS) as journal:
        assert journal.get("vanilla", 1) == {"error": None, "text": "ä"}
        assert journal.get("vanilla", 2) is None
        assert list(journal.results("vanilla", 5)) == [{"error": "no"}, {"error": None, "text": "ä"}]
        assert list(journal.results("vanilla", 1)) == [{"error": "no"}]
        assert journal.count("vanilla", 5) == 2
        assert journal.has_all("vanilla", 0, 2)
        assert not journal.has_all("vanilla", 0, 3)
        assert journal.has_all("moe", 7, 8)


def test_a_result_is_never_changed(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite", FACTS) as journal:
        journal.put("moe", 0, {"error": None})
        with pytest.raises(EvaluationError):
            journal.put("moe", 0, {"error": "other"})
        assert journal.get("moe", 0) == {"error": None}


def test_failures_can_be_forgotten(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite", FACTS) as journal:
        journal.put("moe", 0, {"error": None})
        journal.put("moe", 1, {"error": "no"})
        journal.put("vanilla", 1, {"error": "no"})
        journal.forget_failures("moe")
        assert [journal.count("moe", 9), journal.count("vanilla", 9)] == [1, 1]


@pytest.mark.parametrize("facts", [{**FACTS, "seed": 2}, {"seed": 1}, {**FACTS, "style": "chat"}])
def test_another_run_is_refused(tmp_path: Path, facts: dict[str, object]) -> None:
    path = tmp_path / "journal.sqlite"
    Journal(path, FACTS).close()
    with pytest.raises(EvaluationError, match=r"another (seed|pool|style) \(.* there, .* now\); give another --out"):
        Journal(path, facts)


def test_two_runs_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.sqlite"
    connect = sqlite3.connect

    def impatient(place: Path, **settings: Any) -> sqlite3.Connection:
        opened: sqlite3.Connection = connect(place, **{**settings, "timeout": 0.1})
        return opened

    monkeypatch.setattr(sqlite3, "connect", impatient)
    with Journal(path, FACTS) as journal:
        journal.put("moe", 0, {"error": None})
        with pytest.raises(EvaluationError, match="in use by another run"):
            Journal(path, FACTS)


def test_a_file_that_is_no_journal(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_text("not a database, but quite long enough to be taken for one " * 20)
    with pytest.raises(EvaluationError, match="cannot be used"):
        Journal(tmp_path / "journal.sqlite", FACTS)


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE results SET result = '{half'",
        f"UPDATE results SET result = '{'[' * 100_000}'",
        "UPDATE facts SET value = 'x'",
        "DROP TABLE results; CREATE TABLE results (x)",
    ],
)
def test_a_damaged_journal_says_what_to_do(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path, FACTS) as journal:
        journal.put("moe", 0, {"error": None})
    store = sqlite3.connect(path)
    store.executescript(harm)
    store.commit()
    store.close()

    def used() -> None:
        with Journal(path, FACTS) as journal:
            list(journal.results("moe", 9))

    with pytest.raises(
        EvaluationError, match=r"is damaged or no journal .*; give another --out, or remove that folder"
    ):
        used()
    with pytest.raises(EvaluationError, match="permissions"):
        Journal(tmp_path / "no" / "journal.sqlite", FACTS)


def test_not_a_number_is_not_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite", FACTS) as journal, pytest.raises(ValueError, match="JSON"):
        journal.put("moe", 0, {"error": None, "value": float("nan")})


def test_it_is_plain_sqlite(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.sqlite", FACTS) as journal:
        journal.put("moe", 0, {"error": None})
    rows = sqlite3.connect(tmp_path / "journal.sqlite").execute("SELECT maker, place FROM results").fetchall()
    assert rows == [("moe", 0)]
