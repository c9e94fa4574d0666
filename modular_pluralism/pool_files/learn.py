"""Putting new answers into the records of a pool's communities."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modular_pluralism.errors import PoolError, TrainingDataError
from modular_pluralism.pool import Pool
from modular_pluralism.pool_files.edit_lock import alone_at
from modular_pluralism.records.rows import Row, stream_rows
from modular_pluralism.records.survey import DISTRIBUTIONS, answered_items
from modular_pluralism.replaced_file import replaced_path

COMMUNITY = "community"
"""The column that says whose answer a row is."""
_FIELDS = ("question", "options", "attribute", "answer", "weight", *DISTRIBUTIONS)
"""What a record takes of a row."""
_WRITABLE = (".csv", ".jsonl")


class Learnt(NamedTuple):
    """What a record has got: `answers` rows on so many `questions`, of which it had `known` already."""

    community: str
    file: Path
    answers: int
    questions: int
    known: int


class Answers(NamedTuple):
    """The filled-in rows of a file by the community whose they are, and how many rows have no answer."""

    by_community: Mapping[str, list[Row]]
    unanswered: int


def read_answers(file: Path, pool: Pool, community: str | None = None) -> Answers:
    """The answers in a survey file for a pool's communities; rows whose answer is empty are counted and passed over.

    Args:
        file: A survey file, with a column `community` unless `community` is given.
        pool: The pool.
        community: Whose the answers are; None where the rows say it.

    Raises:
        TrainingDataError: the file cannot be read, no row has an answer, or a row is none or names no community.
        PoolError: there is no such community, or it has no record.
    """
    rows: dict[str, list[Row]] = {}
    unanswered = 0
    for row in stream_rows(file):
        if not any(name in row.fields for name in ("answer", *DISTRIBUTIONS)):
            unanswered += 1
            continue
        name = community if community is not None else _whose(row, pool)
        rows.setdefault(name, []).append(Row(_taken(row), row.source))
    if not rows:
        raise TrainingDataError(
            f"{file} has no answer in its {unanswered:,} rows; fill in the column 'answer', a row for each person."
        )
    for name, answers in rows.items():
        if pool.answers_file(name) is None:
            raise PoolError(
                f"pool {pool.name}: [communities.{name}] has no record to put answers into; add a line 'answers = "
                f'"{name}.csv"\' to its table'
            )
        answered_items(answers)  # whose errors name the row
    return Answers(rows, unanswered)


def learn(answers: Answers, pool: Pool, pool_file: Path) -> list[Learnt]:
    """Put the answers into the communities' records, of which each changes whole or not at all. A record that is not
    there yet is made. `pool_file` is the pool's, at which edits take turns.

    Raises:
        TrainingDataError: a record cannot be read or written, or is of a kind that nothing can be added to.
        PoolError: another process edits the pool for long.
    """
    files = {name: pool.answers_file(name) for name in answers.by_community}
    targets = {name: path for name, path in files.items() if path is not None}
    if len(set(targets.values())) < len(targets):
        raise PoolError("two communities have one file as their record; give each a file of its own")
    with alone_at(pool_file):
        texts: dict[str, str] = {}
        learnt: list[Learnt] = []
        for name, path in targets.items():
            _check_kind(path)
            rows = answers.by_community[name]
            before = [row.fields for row in stream_rows(path)] if path.exists() else []
            asked = {_question(row.fields) for row in rows}
            known = len(asked & {_question(fields) for fields in before if "question" in fields})
            texts[name] = _joined(path, [dict(row.fields) for row in rows])
            learnt.append(Learnt(name, path, len(rows), len(asked), known))
        for each in learnt:
            _write(each.file, texts[each.community])
    return learnt


def _whose(row: Row, pool: Pool) -> str:
    name = str(row.fields.get(COMMUNITY, "")).strip()
    if not name:
        raise TrainingDataError(
            f"{row.source}: there is no {COMMUNITY!r}; add that column, or say whose the answers are with --community."
        )
    if name not in pool.communities:
        raise TrainingDataError(
            f"{row.source}: the pool has no community {name[:60]!r}; it has {', '.join(pool.communities)}."
        )
    return name


def _taken(row: Row) -> dict[str, Any]:
    return {name: row.fields[name] for name in _FIELDS if name in row.fields}


def _question(fields: Mapping[str, Any]) -> str:
    return " ".join(str(fields["question"]).casefold().split())


def _check_kind(path: Path) -> None:
    if path.suffix.lower() not in _WRITABLE:
        raise TrainingDataError(
            f"Nothing can be added to {path}, which is no {' or '.join(_WRITABLE)} file; write the record as one."
        )


def _joined(path: Path, rows: Sequence[dict[str, Any]]) -> str:
    """The text of the file with the rows after its own, which stay as they are, letter for letter, unless a column has
    to be added."""
    try:
        text = path.read_text(encoding="utf-8-sig") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(
            f"{path} cannot be read ({error}); check that it is UTF-8, and yours to read."
        ) from None
    if text and not text.endswith("\n"):
        text += "\n"
    if path.suffix.lower() == ".jsonl":
        return text + "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    flat = [{name: _cell(value) for name, value in row.items()} for row in rows]
    columns = next(csv.reader(io.StringIO(text)), [])
    new = [name for name in _FIELDS if name not in columns and any(name in row for row in flat)]
    if new and columns:
        text = _with_columns(text, new)
    shown = io.StringIO()
    writer = csv.DictWriter(shown, fieldnames=[*columns, *new], restval="", lineterminator="\n")
    if not columns:
        writer.writeheader()
    writer.writerows(flat)
    return text + shown.getvalue()


def _with_columns(text: str, new: Sequence[str]) -> str:
    """A CSV file's text with further columns, which are empty."""
    header, *rows = csv.reader(io.StringIO(text))
    shown = io.StringIO()
    writer = csv.writer(shown, lineterminator="\n")
    writer.writerow([*header, *new])
    writer.writerows([*row, *[""] * len(new)] for row in rows if row)
    return shown.getvalue()


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def _write(path: Path, text: str) -> None:
    try:
        with replaced_path(path) as part:
            part.write_bytes(text.encode())
    except OSError as error:
        raise TrainingDataError(f"{path} cannot be written ({error.strerror or error}); allow it.") from None
