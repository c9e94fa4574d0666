"""Putting new answers into the records of a pool's communities."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from modular_pluralism.edit_lock import alone_at
from modular_pluralism.errors import PoolError, TrainingDataError
from modular_pluralism.pool import Pool
from modular_pluralism.records.rows import Row, stream_rows
from modular_pluralism.records.survey import DISTRIBUTIONS, answered_items
from modular_pluralism.replaced_file import replaced_path

COMMUNITY = "community"
"""The column that says whose answer a row is."""
_FIELDS = ("question", "options", "attribute", "answer", "weight", *DISTRIBUTIONS)
"""What a record takes of a row."""
_WRITABLE = (".csv", ".jsonl")


class Learnt(NamedTuple):
    """What a record has got: `answers` rows on so many `questions`, of which it had `known` already; `made` is whether
    it was not there before."""

    community: str
    file: Path
    answers: int
    questions: int
    known: int
    made: bool


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
            raise recordless(pool, name)
        answered_items(answers)  # whose errors name the row
    return Answers(rows, unanswered)


def recordless(pool: Pool, community: str) -> PoolError:
    """What is said where answers of a community have no record to stand in."""
    return PoolError(
        f"pool {pool.name}: [communities.{community}] has no record to put answers into; add a line 'answers = "
        f'"{community}.csv"\' to its table'
    )


def learn(answers: Answers, pool: Pool, pool_file: Path) -> list[Learnt]:
    """Put the answers into the communities' records: into all of them or, where one cannot be written, into none. A
    record that is not there yet is made. `pool_file` is the pool's, at which edits take turns.

    Raises:
        TrainingDataError: a record cannot be read or written, or is of a kind that nothing can be added to.
        PoolError: another process edits the pool for long.
    """
    files = {name: pool.answers_file(name) for name in answers.by_community}
    # Behind a link stands the file that is meant.
    targets = {name: path.resolve() for name, path in files.items() if path is not None}
    if len(set(targets.values())) < len(targets):
        raise PoolError("two communities have one file as their record; give each a file of its own")
    with alone_at(pool_file):
        for path in targets.values():
            _check_writable(path)
        learnt = [_learnt(name, path, answers.by_community[name]) for name, path in targets.items()]
        with ExitStack() as written:  # all are written beside their records before the first takes its place
            for each in learnt:
                _write(written, each.file, [dict(row.fields) for row in answers.by_community[each.community]])
    return learnt


def _learnt(community: str, path: Path, rows: Sequence[Row]) -> Learnt:
    asked = {_question(row.fields) for row in rows}
    made = not path.exists()
    before = iter(()) if made else stream_rows(path)
    known = asked & {_question(row.fields) for row in before if "question" in row.fields}
    return Learnt(community, path, len(rows), len(asked), len(known), made)


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


def _check_writable(path: Path) -> None:
    if path.suffix.lower() not in _WRITABLE:
        raise TrainingDataError(
            f"Nothing can be added to {path}, which is no {' or '.join(_WRITABLE)} file; write the record as one."
        )
    if path.exists() and not os.access(path, os.W_OK):  # the folder alone would decide over replacing it
        raise TrainingDataError(f"{path} is read-only; allow writing it.")


def _write(written: ExitStack, path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write the record with the rows after its own, which stay as they are, byte for byte, unless a column has to be
    added. It takes its place when `written` ends."""
    try:
        part = written.enter_context(_replaced(path))
        ending, is_whole = _line_ends(path) if path.exists() else ("\n", True)
        if path.exists():
            shutil.copyfile(path, part)
        if path.suffix.lower() == ".jsonl":
            text = "".join(json.dumps(row, ensure_ascii=False) + ending for row in rows)
        else:
            text, is_whole = _csv_text(path, part, rows, ending, is_whole)
        with part.open("ab") as file:
            file.write(f"{'' if is_whole else ending}{text}".encode())
    except OSError as error:
        raise _unwritable(path, error) from None


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    try:
        with replaced_path(path) as part:
            yield part
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> TrainingDataError:
    return TrainingDataError(f"{path} cannot be written ({error.strerror or error}); allow it.")


def _line_ends(path: Path) -> tuple[str, bool]:
    """What the file's first line ends with, and whether its last one ends at all. Raises OSError."""
    with path.open("rb") as file:
        ending = "\r\n" if file.readline().endswith(b"\r\n") else "\n"
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 3))
        last = file.read()
    return ending, size == 0 or last == codecs.BOM_UTF8 or last.endswith((b"\n", b"\r"))


def _csv_text(path: Path, part: Path, rows: Sequence[dict[str, Any]], ending: str, is_whole: bool) -> tuple[str, bool]:
    """The rows as CSV under the record's columns, and whether what stands in `part` ends its last line: that is
    written anew where a column is missing. Raises OSError."""
    flat = [{name: _cell(value) for name, value in row.items()} for row in rows]
    columns: list[str] = []
    if path.exists():
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns = next(csv.reader(file), [])
    new = [name for name in _FIELDS if name not in columns and any(name in row for row in flat)]
    if new and columns:
        _add_columns(path, part, new, ending)
        is_whole = True
    shown = io.StringIO()
    writer = csv.DictWriter(shown, fieldnames=[*columns, *new], restval="", lineterminator=ending)
    if not columns:
        writer.writeheader()
    writer.writerows(flat)
    return shown.getvalue(), is_whole


def _add_columns(path: Path, part: Path, new: Sequence[str], ending: str) -> None:
    """Write a CSV file's rows to `part` with further columns, which are empty. Raises OSError."""
    with path.open("rb") as raw:
        encoding = "utf-8-sig" if raw.read(3) == codecs.BOM_UTF8 else "utf-8"
    with path.open(encoding=encoding, newline="") as file, part.open("w", encoding=encoding, newline="") as changed:
        rows = csv.reader(file)
        writer = csv.writer(changed, lineterminator=ending)
        writer.writerow([*next(rows), *new])
        writer.writerows([*row, *[""] * len(new)] for row in rows if row)


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)
