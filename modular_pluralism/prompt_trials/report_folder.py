"""The folder that a trial or a search writes its report to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import BaseModel

from modular_pluralism.errors import EvaluationError
from modular_pluralism.prompts import built_in_files
from modular_pluralism.replaced_file import replaced_file

PROMPTS = "prompts"
"""The folder in a search's folder that has the better prompt, for `--prompts`."""


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


def write_report(folder: Path, result: BaseModel, markdown: str, name: str) -> list[Path]:
    """Write NAME.md and NAME.json; each appears whole or not at all.

    Raises:
        EvaluationError: a file cannot be written.
    """
    texts = {folder / f"{name}.json": result.model_dump_json(indent=1) + "\n", folder / f"{name}.md": markdown}
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


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
        raise EvaluationError(f"{path} cannot be written ({error.strerror}); make room.") from None


def check_no_prompts(folder: Path) -> None:
    """Raise EvaluationError where DIR/prompts is there already, or DIR is among the built-in prompts: neither is ever
    written over."""
    built_in = Path(next(iter(built_in_files().values())).path).resolve().parent
    if folder.resolve().is_relative_to(built_in):
        raise EvaluationError(
            f"{folder} is among the built-in prompts, which are never written over; give another --out."
        )
    if (folder / PROMPTS).exists():
        raise EvaluationError(f"{folder / PROMPTS} is there already; remove it, or give another --out.")
