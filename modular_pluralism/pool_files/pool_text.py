"""The text of a pool file as it is edited: changed where it has to be, checked, and put into the file's place whole."""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import dropwhile
from pathlib import Path
from typing import Any, NamedTuple, Self

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Key, SingleKey, Table, Whitespace

from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.pool import Pool
from modular_pluralism.pools import BUILT_IN_POOLS, PAPER_POOLS
from modular_pluralism.replaced_file import replaced_file

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
    """The text of a pool file. No part of it are a byte order mark, where the file is `marked` with one, and Windows'
    line ends, where `newline` says that all lines have them."""

    path: Path
    text: str
    marked: bool = False
    newline: str = "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """What stands in the file. Raises PoolError where it cannot be read, or is no TOML."""
        try:
            text = path.read_bytes().decode("utf-8")
            newline = "\r\n" if 0 < text.count("\n") == text.count("\r\n") else "\n"
            file = cls(path, text.removeprefix(_MARK).replace(newline, "\n"), text.startswith(_MARK), newline)
            file.data()
        except (OSError, ValueError) as error:
            raise PoolError(f"{path} cannot be read to edit it ({error}); correct the file") from error
        return file

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
        """With the text of the document."""
        return replace(self, text=tomlkit.dumps(document))

    def with_table(self, names: tuple[str, str], fields: Mapping[str, str | float]) -> Self:
        """With a table of these keys behind the last one of the same kind, or else at the end."""
        whole = self if self.text.endswith("\n") else replace(self, text=self.text + "\n")
        document = whole.document()
        tables = [entry for entry in _entries(document.body) if isinstance(entry.item, Table)]
        kind, name = names
        table = tomlkit.table()
        table.update(fields)
        table.trivia.indent = "\n"  # a blank line before it
        if like := [entry for entry in tables if entry.names[:-1] == (kind,)]:
            table.value.body.extend(cut_end(like[-1].item.value.body))
            like[-1].body.append((SingleKey(name), table))
        else:
            table.value.body.extend(cut_end(tables[-1].item.value.body if tables else document.body))
            document.body.append((SingleKey(kind), tomlkit.table(is_super_table=True).append(name, table)))
        return whole.edited(document)

    def with_top_table(self, name: str, fields: Mapping[str, Any]) -> Self:
        """With a table of its own at the end."""
        whole = self if self.text.endswith("\n") else replace(self, text=self.text + "\n")
        document = whole.document()
        table = tomlkit.table()
        table.update(fields)
        table.trivia.indent = "\n"  # a blank line before it
        document.append(name, table)
        return whole.edited(document)

    def without_table(self, names: tuple[str, str]) -> Self:
        """Without this table, the comment lines right above it and the blank ones below it; PoolError as `document`."""
        document = self.document()
        entries = list(_entries(document.body))
        tables = [at for at, entry in enumerate(entries) if entry.names == names and isinstance(entry.item, Table)]
        if len(tables) != 1:
            raise by_hand(self.path)
        table = entries[tables[0]]
        above = [entry for entry in entries[: tables[0]] if not _is_frame(entry.item)]
        while above and isinstance(above[-1].item, Comment):
            above.pop().replace([])
        end = list(dropwhile(lambda line: isinstance(line[1], Whitespace), cut_end(table.item.value.body)))
        table.replace([])
        if not above:
            document.body[:0] = end
        elif isinstance(above[-1].item, Table):
            above[-1].item.value.body.extend(end)
        else:
            above[-1].replace([(above[-1].key, above[-1].item), *end])
        return self.edited(document)

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
                file.write(_MARK * self.marked + self.text.replace("\n", self.newline))
        except (OSError, UnicodeEncodeError) as error:
            raise _not_written(self.path, error) from error


Line = tuple[Key | None, Any]
"""Of a body in tomlkit's tree: a key and its value, a table's name and the table, or None and a comment or space."""


class _Entry(NamedTuple):
    """A line of a body that stands in the tables of these names, its own among them."""

    names: tuple[str, ...]
    body: list[Line]
    key: Key | None
    item: Any

    def replace(self, lines: list[Line]) -> None:
        """Put other lines in its place."""
        at = next(at for at, (_, item) in enumerate(self.body) if item is self.item)
        self.body[at : at + 1] = lines


def _entries(body: list[Line], names: tuple[str, ...] = ()) -> Iterator[_Entry]:
    """All lines of a body and of the tables in it, in the order of the file."""
    for key, item in body:
        inner = names if key is None else (*names, key.key)
        yield _Entry(inner, body, key, item)
        if isinstance(item, Table):
            yield from _entries(item.value.body, inner)


def _is_frame(item: Any) -> bool:
    """Whether it has no line of its own: the table `communities` where only [communities.NAME] is written."""
    return isinstance(item, Table) and item.is_super_table()


def cut_end(body: list[Line]) -> list[Line]:
    """Cut what follows the last key of a table off, and return it. To tomlkit, the comments above the next table are a
    part of this one, and what is added to it would come after them."""
    at = len(body)
    while at and body[at - 1][0] is None:
        at -= 1
    end = body[at:]
    del body[at:]
    return end


def _not_written(path: Path, error: OSError | UnicodeEncodeError) -> PoolError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    return PoolError(f"{path} cannot be written ({why}); make room, or allow writing it")


def by_hand(path: Path) -> PoolError:
    """What to raise where only a person can edit the file."""
    return PoolError(
        f"{path} writes its tables in a way that this command cannot edit; write each as a table "
        "[communities.NAME], or edit the file by hand"
    )
