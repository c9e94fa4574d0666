"""The rows of a data file, whatever its format: JSON, JSONL, CSV, parquet, or plain text."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modular_pluralism.errors import TrainingDataError
from modular_pluralism.file_names import check_is_utf8
from modular_pluralism.optional import optional
from modular_pluralism.records.released import is_opinion_qa, opinion_qa_rows, released_rows

FORMATS = (".json", ".jsonl", ".csv", ".parquet", ".txt")
"""The endings of files that can be read; .txt holds texts alone."""


class Row(NamedTuple):
    """One row: its fields by name, and what messages call it ("answers.csv, row 3", counted from 1)."""

    fields: dict[str, Any]
    source: str


def read_rows(path: Path) -> list[Row]:
    """All rows of a data file; fields that are empty are left out. In a .txt file each paragraph is a row with `text`.

    Raises:
        TrainingDataError: the file is missing, cannot be read, or is not what its ending says.
    """
    rows = list(stream_rows(path))
    if not rows:
        raise TrainingDataError(f"{path} holds no rows; put at least 20 questions, or texts, into it.")
    return rows


def stream_rows(path: Path) -> Iterator[Row]:
    """The same, one after the other: of .jsonl, .csv and .parquet, no more than a few rows are held at once."""
    check_is_utf8(Path(path.name), TrainingDataError)
    readers = {".json": _json, ".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet, ".txt": _paragraphs}
    if path.is_dir():
        raise TrainingDataError(f"{path} is a folder; name the files in it, each with a --data of its own.")
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TrainingDataError(
            f"{path} has an ending that is not known; use a file that ends in one of {', '.join(FORMATS)}."
        )
    try:
        for number, row in enumerate(reader(path), start=1):
            source = f"{path.name}, row {number}"
            for each in released_rows(_filled(row), source):
                yield Row(each, source)
    except FileNotFoundError:
        raise TrainingDataError(f"There is no file {path}; check the path.") from None
    except OSError as error:
        raise TrainingDataError(
            f"{path} cannot be read ({error.strerror or error}); check that it is a file that you may read."
        ) from error
    except UnicodeDecodeError as error:
        raise TrainingDataError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from error


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and value != ""}


def _json(path: Path) -> Iterator[dict[str, Any]]:
    try:
        rows = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise TrainingDataError(
            f"{path}, line {error.lineno}: this is not JSON ({error.msg}); correct the line."
        ) from error
    except (ValueError, RecursionError):
        raise TrainingDataError(f"{path} has too long a number or too many brackets in one another.") from None
    if is_opinion_qa(path.name, rows):
        rows = list(opinion_qa_rows(path.name, rows))
    if not isinstance(rows, list):
        raise TrainingDataError(f"{path} is not a list of rows; write them as [{{...}}, {{...}}].")
    for number, row in enumerate(rows, start=1):
        yield _object(row, f"{path.name}, row {number}")


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    # Split at line feeds alone: JSON text may hold the other separators that Python knows.
    with path.open(encoding="utf-8-sig", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _json_line(line, path.name, number)


def _json_line(line: str, file: str, number: int) -> dict[str, Any]:
    try:
        return _object(json.loads(line), f"{file}, line {number}")
    except json.JSONDecodeError as error:
        raise TrainingDataError(
            f"{file}, line {number}: this is not JSON ({error.msg}); write one object a line."
        ) from error
    except (ValueError, RecursionError):
        raise TrainingDataError(
            f"{file}, line {number}: a number is too long, or there are too many brackets in one another."
        ) from None


def _object(row: Any, source: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise TrainingDataError(f"{source}: this is {type(row).__name__} and no object; write it as {{...}}.")
    return row


csv.field_size_limit(2**31 - 1)  # a passage may be longer than the 131,072 characters that Python reads by itself


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, strict=True)
        try:
            _check_separator(path, rows.fieldnames or [])
            for number, row in enumerate(rows, start=1):
                if None in row or None in row.values():
                    raise TrainingDataError(
                        f"{path.name}, row {number} has more or fewer fields than the first line names; put fields "
                        "that hold commas into double quotes."
                    )
                yield row
        except csv.Error as error:
            raise TrainingDataError(f"{path}, line {rows.line_num}: this is not CSV ({error}); correct it.") from error


def _check_separator(path: Path, columns: Sequence[str]) -> None:
    """Spreadsheets in some languages write CSV with semicolons, and every row would lack its fields."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and separator in columns[0]:
            raise TrainingDataError(f"{path}: the first line has {name} between its names; save it with commas.")


_BATCH = 4096


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        raise FileNotFoundError
    arrow = optional("pyarrow", "train", "Reading parquet")
    parquet = optional("pyarrow.parquet", "train", "Reading parquet")
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise TrainingDataError(f"{path} is not a parquet file ({_first_line(error)}); write it anew.") from error


def _paragraphs(path: Path) -> Iterator[dict[str, Any]]:
    lines: list[str] = []
    for line in [*_text(path).splitlines(), ""]:
        if line.strip():
            lines.append(line)
        elif lines:
            yield {"text": "\n".join(lines)}
            lines = []


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
