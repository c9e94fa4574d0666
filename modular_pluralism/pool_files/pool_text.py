"""The text of a pool file as it is edited: changed where it has to be, checked, and put into the file's place whole."""

from __future__ import annotations

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import tomlkit
from tomlkit.exceptions import TOMLKitError

from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.pool import BUILT_IN_POOLS, PAPER_POOLS, Pool
from modular_pluralism.replaced_file import replaced_file

_HEADER = re.compile(r"\s*\[+\s*(?P<name>[^\]]+?)\s*\]+\s*(?:#.*)?")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_MARK = "\ufeff"


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
        raise _not_written(path, error) from error


@dataclass(frozen=True)
class PoolText:
    """The text of a pool file, with the line ends that it has; `marked` where the file begins with a byte order mark,
    which is no part of the text."""

    path: Path
    text: str
    marked: bool = False

    @classmethod
    def read(cls, path: Path) -> Self:
        """What stands in the file. Raises PoolError where it cannot be read, or is no TOML."""
        try:
            text = path.read_bytes().decode("utf-8")
            file = cls(path, text.removeprefix(_MARK), text.startswith(_MARK))
            file.data()
        except (OSError, ValueError) as error:
            raise PoolError(f"{path} cannot be read to edit it ({error}); correct the file") from error
        return file

    @property
    def newline(self) -> str:
        """What ends a new line: Windows' line end where all the others are such."""
        ends = self.text.count("\n")
        return "\r\n" if ends and self.text.count("\r\n") == ends else "\n"

    def data(self) -> dict[str, Any]:
        """What TOML makes of the text. Raises ValueError where it is no TOML."""
        return tomllib.loads(self.text)

    def document(self) -> tomlkit.TOMLDocument:
        """The text to be edited. Raises PoolError where only a person can do so."""
        try:
            return tomlkit.parse(self.text)
        except (TOMLKitError, ValueError) as error:
            raise by_hand(self.path) from error

    def edited(self, document: tomlkit.TOMLDocument) -> Self:
        """With the text of the document, whose new lines end as the others do."""
        text = tomlkit.dumps(document)
        if self.newline == "\r\n":  # tomlkit keeps such an end, but gives a new line none
            text = re.sub(r"(?<!\r)\n", "\r\n", text)
        return replace(self, text=text)

    def with_table(self, names: tuple[str, str], fields: Mapping[str, str | float]) -> Self:
        """With a table of these keys behind the last one of the same kind, or else at the end."""
        newline = self.newline
        text = self.text if self.text.endswith("\n") else self.text + newline
        lines = text.split("\n")
        table = [
            "",
            f"[{'.'.join(map(_key, names))}]",
            *(f"{_key(key)} = {_toml(value)}" for key, value in fields.items()),
        ]
        ends = [end for begin, end in tables_of(lines) if parts_of(lines[begin])[:-1] == [names[0]]]
        at = max(ends) if ends else _last(lines, 0, len(lines))
        lines[at:at] = [line + newline[:-1] for line in table]
        return replace(self, text="\n".join(lines))

    def check(self, wanted: Mapping[str, Any]) -> None:
        """Raise PoolError unless the text says what is wanted, and is a pool."""
        try:
            same = self.data() == wanted
        except ValueError:
            same = False
        if not same:
            raise by_hand(self.path)
        Pool.from_toml(self.text, source=str(self.path), folder=self.path.absolute().parent)

    def write(self, wanted: Mapping[str, Any]) -> None:
        """Put the text into the place of the file's, where it says what is wanted.

        Raises:
            PoolError: it does not, or is no pool, or the file cannot be written; the file stays as it is then.
        """
        self.check(wanted)
        try:
            # Behind a link stands the file that is meant.
            with replaced_file(self.path.resolve()) as file:
                file.write(_MARK * self.marked + self.text)
        except OSError as error:
            raise _not_written(self.path, error) from error


def tables_of(lines: list[str]) -> list[tuple[int, int]]:
    """First line of every table, and the one after its last key; comments above the next table belong to that one."""
    begins = [at for at, line in enumerate(lines) if _HEADER.fullmatch(line)]
    return [(begin, _last(lines, begin, after)) for begin, after in zip(begins, [*begins[1:], len(lines)], strict=True)]


def _last(lines: list[str], begin: int, end: int) -> int:
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def parts_of(line: str) -> list[str]:
    """The parts of a table's name; of a name in quotes the rest behind the first dot is one part."""
    match = _HEADER.fullmatch(line)
    first, dot, rest = match["name"].partition(".") if match else ("", "", "")
    parts = [first, rest] if dot else [first]
    return [part.strip().strip("\"'") for part in parts]


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: str | float) -> str:
    # JSON's way to write text is also one of TOML's.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _not_written(path: Path, error: OSError) -> PoolError:
    return PoolError(f"{path} cannot be written ({error.strerror or error}); make room, or allow writing it")


def by_hand(path: Path) -> PoolError:
    """What to raise where only a person can edit the file."""
    return PoolError(
        f"{path} writes its tables in a way that this command cannot edit; write each as a table "
        "[communities.NAME], or edit the file by hand"
    )
