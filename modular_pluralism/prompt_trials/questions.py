"""A file of questions without answers: one a line, as text or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modular_pluralism.errors import InputError
from modular_pluralism.nodes.request import Request

_PARTS = ("question", "attribute", "options")


def read_questions(
    path: Path, mode: str, *, attribute: str | None = None, options: Sequence[str] = (), **settings: Any
) -> list[Request]:
    """The file's questions, in order, for a mode: a line is a question, or in a file that ends in .jsonl, an object
    with "question" and, where it differs from `attribute` and `options`, those. Empty lines and, in text, lines that
    begin with # are passed over. `settings` are the requests' others.

    Raises:
        InputError: the file cannot be read or holds no question, or one is not for this mode; the message has its line.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")  # JSON text may hold what splitlines() splits at, too
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{path} cannot be read ({why}); give a file of questions with --questions.") from None
    as_json = path.suffix == ".jsonl"
    common = {"mode": mode, "attribute": attribute, "options": list(options) or None, **settings}
    requests = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (line.startswith("#") and not as_json):
            continue
        try:
            given = _object(line) if as_json else {"question": line.strip()}
            requests.append(Request.model_validate({**common, **given}))
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from None
    if not requests:
        raise InputError(f"{path} holds no question; write one a line, or give another file with --questions.")
    return requests


def _object(line: str) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not given.keys() <= set(_PARTS):
        raise InputError('it is no object with "question" and, if need be, "attribute" and "options"; correct it.')
    return given
