"""The files of a report: whether they can be written, before anything is computed, and writing them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import BaseModel

from modular_pluralism.errors import EvaluationError
from modular_pluralism.replaced_file import replaced_file


def check_folder(folder: Path) -> None:
    """Raise EvaluationError where nothing can be written there, before anything is computed."""
    try:
        above = folder
        while not above.exists():
            above = above.parent
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise EvaluationError(
            f"The folder {folder} cannot be written ({error.strerror}); give another --out."
        ) from None


def write_json(path: Path, result: BaseModel) -> Path:
    """Write a result as JSON. Raises as `write_text` does."""
    write_text(path, result.model_dump_json(indent=1) + "\n")
    return path


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all.

    Raises:
        EvaluationError: it cannot be written.
    """
    try:
        with replaced_file(path) as file:
            # A model's reply may hold half a character, which no file can.
            file.write(text.encode("utf-8", "replace").decode("utf-8"))
    except OSError as error:
        raise EvaluationError(
            f"{path} cannot be written ({error.strerror}); make room, or give another --out."
        ) from None
