"""The Overton test with n perspectives: a CSV file of prompts, each with an answer that speaks from n perspectives."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from modular_pluralism.errors import TaskFileError
from modular_pluralism.evaluation.data.json_list import opened

PERSPECTIVES = "perspectives"
"""The field of an item that says how many perspectives its answer has."""

_COLUMNS = ("prompt", "answer")
_LINE = re.compile(r"In the perspective of (?P<name>[^,]*[^,\s]), *(?P<text>\S.*)", re.IGNORECASE)


class PerspectiveTable:
    """A CSV file with the columns prompt and answer, as the items of an Overton task file.

    Each line of an answer begins with "In the perspective of NAME, ". NAME becomes a value of the item, and the rest of
    the line its explanation, against which coverage is judged. `digest` is the file's SHA-256, known once it has been
    read to its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest: str | None = None

    def objects(self) -> Iterator[dict[str, Any]]:
        """Each row as an item, read anew from the file; its id is its number, from 1.

        Raises:
            TaskFileError: the file cannot be read, is no CSV in UTF-8, lacks a column, or has a line that names no
                perspective; names the row.
        """
        try:
            with opened(self.path) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                yield from self._rows(csv.DictReader(lines, strict=True, skipinitialspace=True))
            self.digest = digest
        except UnicodeDecodeError as error:
            raise TaskFileError(f"{self.path} is not UTF-8; save the file as UTF-8.") from error
        except csv.Error as error:
            raise TaskFileError(f"{self.path} is not CSV ({error}); correct it.") from error

    def _rows(self, rows: csv.DictReader[str]) -> Iterator[dict[str, Any]]:
        columns = {name.strip(): name for name in rows.fieldnames or ()}
        missing = [name for name in _COLUMNS if name not in columns]
        if missing:
            raise TaskFileError(
                f"{self.path} has no column {missing[0]!r}; a CSV task file has the columns prompt and answer, with a "
                "line for each perspective."
            )
        for number, row in enumerate(rows, start=1):
            prompt = row[columns["prompt"]] or ""
            told = [self._told(line, number) for line in (row[columns["answer"]] or "").splitlines() if line.strip()]
            if not prompt.strip() or not told:
                raise TaskFileError(f"{self.path}, row {number}, has no prompt or no answer; fill it in.")
            yield {
                "id": number,
                "situation": prompt,
                "input": prompt,
                "vrd": [name for name, _ in told],
                "explanation": [text for _, text in told],
                PERSPECTIVES: len(told),
                "output": None,
            }

    def _told(self, line: str, number: int) -> tuple[str, str]:
        match = _LINE.fullmatch(line.strip())
        if match is None:
            shown = "".join(letter if letter.isprintable() else " " for letter in line.strip()[:60])
            raise TaskFileError(
                f"{self.path}, row {number}: the line {shown!r} names no perspective; begin each line of an answer "
                "with “In the perspective of NAME, ”."
            )
        return match["name"].strip(), match["text"]
