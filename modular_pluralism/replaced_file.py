"""A file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def replaced_path(path: Path) -> Iterator[Path]:
    """Where the block has to write a new file, in the folder of `path`, which is made if need be.

    The file takes the place of `path` when the block ends, with who may read and write it as before, and is removed
    when the block fails. Until then `path` stays as it is.

    Raises:
        OSError: the folder or the file cannot be written, or `path` is a folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{secrets.token_hex(8)}.part")  # not longer than any name that may be wanted
    try:
        yield part
        if path.exists():
            shutil.copymode(path, part)
        part.replace(path)
    finally:
        # What cannot be cleared away must not hide why nothing could be written.
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def replaced_file(path: Path) -> Iterator[TextIO]:
    """A new UTF-8 text file that takes the place of `path` as that of `replaced_path` does. Raises OSError likewise."""
    with replaced_path(path) as part, part.open("x", encoding="utf-8", newline="\n") as file:
        yield file
