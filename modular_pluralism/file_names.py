"""Names of files, which most systems let be any bytes."""

from __future__ import annotations

from pathlib import Path

from modular_pluralism.errors import PluralismError


def check_is_utf8(path: Path, error: type[PluralismError]) -> None:
    """Raise `error` where a name is not UTF-8, in which everything is written that tells of the file."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = str(path).encode("utf-8", "replace").decode("utf-8")
        raise error(f"{shown} has a name that is not UTF-8, which no result can hold; rename it.") from None
