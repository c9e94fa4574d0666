"""A pool file as it is edited."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.pool import POOL_FILE, Pool
from modular_pluralism.pools import BUILT_IN_POOLS, PAPER_POOLS
from modular_pluralism.toml_text import TomlText, not_written


def own_pool(name_or_path: str | Path) -> Path:
    """The file of a pool that is the user's own.

    Raises:
        InputError: it is a built-in pool.
        PoolError: there is no such pool, or it cannot be used.
    """
    if str(name_or_path) not in (*BUILT_IN_POOLS, *PAPER_POOLS):
        Pool.load(name_or_path)  # says what is wrong with it
        path = Path(name_or_path)
        if path.resolve().parent != Path(str(files("modular_pluralism.pools"))).resolve():
            return path
    raise InputError(
        f"{name_or_path} is a built-in pool, which is never written; make a pool file of your own, and name it with "
        "--pool FILE."
    )


def check_writable(path: Path) -> None:
    """Raise PoolError where the file cannot be replaced: for work that takes long before it writes."""
    if not path.is_file():  # a pipe, which is read once
        raise PoolError(f"{path} is no file that can be written; name a pool file with --pool FILE")
    if not os.access(path, os.W_OK):
        raise PoolError(f"{path} is read-only; allow writing it, or name a copy of it with --pool FILE")
    try:
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        raise not_written(path, error, POOL_FILE) from error


@dataclass(frozen=True)
class PoolText(TomlText):
    """The text of a pool file."""

    kind = POOL_FILE
    table = "[communities.NAME]"

    def check_whole(self) -> None:
        """See TomlText."""
        Pool.from_toml(self.text, source=str(self.path), folder=self.path.absolute().parent)
