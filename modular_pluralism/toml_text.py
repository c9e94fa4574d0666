"""The text of a TOML file as it is edited: changed where it has to be, checked, and put into the file's place whole."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import dropwhile
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Key, SingleKey, Table, Whitespace

from modular_pluralism.errors import ConfigurationError
from modular_pluralism.replaced_file import replaced_file
from modular_pluralism.toml_file import TomlKind

_MARK = "\ufeff"


@dataclass(frozen=True)
class TomlText:
    """The text of a file. No part of it are a byte order mark, where the file is `marked` with one, and Windows' line
    ends, where `newline` says that all lines have them."""

    kind: ClassVar[TomlKind]
    """What the file is in messages."""
    table: ClassVar[str]
    """How a table of it has to be written to be edited here, such as [communities.NAME]."""

    path: Path
    text: str
    marked: bool = False
    newline: str = "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """What stands in the file. Raises the kind's error where it cannot be read, or is no TOML."""
        try:
            text = path.read_bytes().decode("utf-8")
            newline = "\r\n" if 0 < text.count("\n") == text.count("\r\n") else "\n"
            file = cls(path, text.removeprefix(_MARK).replace(newline, "\n"), text.startswith(_MARK), newline)
            file.data()
        except (OSError, ValueError) as error:
            raise cls.kind.error(f"{path} cannot be read to edit it ({error}); correct the file") from error
        return file

    def data(self) -> dict[str, Any]:
        """What TOML makes of the text. Raises ValueError where it is no TOML."""
        return tomllib.loads(self.text)

    def document(self) -> tomlkit.TOMLDocument:
        """The text to be edited. Raises the kind's error where only a person can do so."""
        try:
            return tomlkit.parse(self.text)
        except (TOMLKitError, ValueError) as error:
            raise self.by_hand() from error

    def edited(self, document: tomlkit.TOMLDocument) -> Self:
        """With the text of the document."""
        return replace(self, text=tomlkit.dumps(document))

    def with_table(self, names: tuple[str, str], fields: Mapping[str, Any]) -> Self:
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
        """Without this table, the comment lines right above it and the blank ones below it; raises as `document`."""
        document = self.document()
        entries = list(_entries(document.body))
        tables = [at for at, entry in enumerate(entries) if entry.names == names and isinstance(entry.item, Table)]
        if len(tables) != 1:
            raise self.by_hand()
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
        """Raise the kind's error unless the text says what is wanted, and is such a file."""
        try:
            same = self.data() == wanted
        except ValueError:
            same = False
        if not same:
            raise self.by_hand()
        self.check_whole()

    def check_whole(self) -> None:
        """Raise the kind's error where the text is no such file."""
        raise NotImplementedError

    def by_hand(self) -> ConfigurationError:
        """What to raise where only a person can edit the file."""
        return self.kind.error(
            f"{self.path} writes its tables in a way that this command cannot edit; write each as a table "
            f"{self.table}, or edit the file by hand"
        )

    def write(self, wanted: Mapping[str, Any]) -> None:
        """Put the text into the place of the file's, where it says what is wanted.

        Raises:
            ConfigurationError: the kind's: it does not, or is no such file, or the file cannot be written, which stays
                as it is then.
        """
        self.check(wanted)
        try:
            # Behind a link stands the file that is meant.
            with replaced_file(self.path.resolve()) as file:
                file.write(_MARK * self.marked + self.text.replace("\n", self.newline))
        except (OSError, UnicodeEncodeError) as error:
            raise not_written(self.path, error, self.kind) from error


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


def in_toml(value: Any) -> Any:
    """The value as tomlkit writes it, tables on one line."""
    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    table.update({key: in_toml(inner) for key, inner in value.items()})
    return table


def set_key(table: Any, key: str, value: Any) -> None:
    """Set a key of a table; a new one goes right behind the last key."""
    end = cut_end(table.value.body) if isinstance(table, Table) and key not in table else []
    table[key] = value
    if end:
        table.value.body.extend(end)


def not_written(path: Path, error: OSError | UnicodeEncodeError, kind: TomlKind) -> ConfigurationError:
    """What to raise where the file cannot be replaced."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else error
    return kind.error(f"{path} cannot be written ({why}); make room, or allow writing it")
