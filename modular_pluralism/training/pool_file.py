"""Editing a pool file of a user: adding a community, removing one; every other line of the file stays as it is."""

from __future__ import annotations

import copy
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

from modular_pluralism.errors import InputError, PoolError, PromptError
from modular_pluralism.evaluation.replaced_file import replaced_file
from modular_pluralism.pool import BUILT_IN_POOLS, COMMUNITY_NAME, PAPER_POOLS, EmbeddedModel, Pool
from modular_pluralism.prompts import PromptSet

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
            raise _by_hand(self.path) from error

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
        ends = [end for begin, end in _tables(lines) if _parts(lines[begin])[:-1] == [names[0]]]
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
            raise _by_hand(self.path)
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


def add_community(path: Path, name: str, fields: Mapping[str, str | float]) -> None:
    """Add the table [communities.NAME] with these keys behind the last community of the pool file.

    Raises:
        InputError: the pool is a built-in one.
        PoolError: no community can have that name, the file cannot be read or written, has the community already, or
            would not be a usable pool with it; the file stays as it is then.
    """
    if not COMMUNITY_NAME.fullmatch(name):  # else the file would be blamed for it
        raise PoolError(
            f"{name!r} is no usable name; write up to 64 letters, digits, '_' and '-', a letter or digit first"
        )
    file = PoolText.read(own_pool(path))
    known = file.data()
    if name in known.get("communities", {}):
        raise PoolError(f"{path} has a community {name!r} already; remove it first, or choose another name")
    communities = known.get("communities", {}) | {name: dict(fields)}
    file.with_table(("communities", name), fields).write(known | {"communities": communities})


def remove_community(path: Path, name: str) -> None:
    """Remove the table [communities.NAME] from the pool file, with the comment lines right above it.

    Raises:
        InputError: the pool is a built-in one.
        PoolError: as `add_community`, or there is no such community, or it is written in a way that only a person can
            edit.
    """
    file = PoolText.read(own_pool(path))
    known = file.data()
    if name not in known.get("communities", {}):
        raise PoolError(f"{path} has no community {name!r}; it has {', '.join(known.get('communities', {})) or 'none'}")
    lines = file.text.split("\n")
    found = [span for span in _tables(lines) if _parts(lines[span[0]]) == ["communities", name]]
    rest = {key: value for key, value in known["communities"].items() if key != name}
    if len(found) != 1:
        raise _by_hand(path)
    begin, end = found[0]
    while begin > 0 and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    while end < len(lines) - 1 and not lines[end].strip():
        end += 1
    del lines[begin:end]
    replace(file, text="\n".join(lines)).write(known | {"communities": rest})


def adapter_files(pool: Pool) -> dict[str, tuple[str, str]]:
    """By community, the published adapter that it names, and the file, relative to the pool's, that it is kept in.

    Raises:
        PoolError: a file would not lie beside the pool's, or is named for two adapters.
    """
    found = {name: (each.peft, each.lora) for name, each in pool.communities.items() if each.peft and each.lora}
    models: dict[str, tuple[str, str]] = {}
    for name, (peft, lora) in found.items():
        if _is_fixed(lora) or ".." in Path(lora).parts:
            raise PoolError(
                f"[communities.{name}] lora is {lora!r}, where no adapter is imported to; write a path that begins in "
                "the pool's folder"
            )
        made = (peft, pool.communities[name].model)
        if models.setdefault(Path(lora).as_posix(), made) != made:
            raise PoolError(f"[communities.{name}] lora {lora!r} is named for another adapter, too; name another file")
    return found


def moved_pool(pool: Pool, path: Path, target: Path) -> PoolText:
    """The text of the pool's file at `path` as it has to read at `target`, where adapters that have been imported lie
    beside it: every other relative path is told from there.

    Raises:
        PoolError: the file cannot be read, or only a person can change its paths; or a persona would be another text
            there.
    """
    file, folder = PoolText.read(path), target.parent
    _check_personas(pool, folder)
    wanted, document = copy.deepcopy(file.data()), file.document()
    places = [("models", name, "gguf") for name, model in pool.models.items() if isinstance(model, EmbeddedModel)]
    imported = {None, *(lora for _, lora in adapter_files(pool).values())}
    places += [("communities", name, "lora") for name, each in pool.communities.items() if each.lora not in imported]
    for table, name, key in places:
        moved = _moved(wanted[table][name][key], pool.folder, folder)
        if moved is not None:
            wanted[table][name][key] = moved
            changed: Any = document[table]
            changed[name][key] = moved
    moved_file = replace(file.edited(document), path=target)
    if moved_file.data() != wanted:
        raise _by_hand(path)
    return moved_file


def write_moved_pool(pool: Pool, file: PoolText) -> None:
    """Write what `moved_pool` has given, and the personas that lie beside the pool's own file.

    Raises:
        PoolError: a file cannot be read or written.
    """
    folder = file.path.parent
    for persona in {each.persona for each in pool.communities.values() if each.persona is not None}:
        own, there = pool.folder / persona, folder / persona
        if own.is_file() and not there.is_file():
            try:
                with replaced_file(there) as copied:
                    copied.write(own.read_bytes().decode("utf-8"))
            except (OSError, ValueError) as error:
                raise PoolError(f"{own} cannot be copied to {there} ({error}); copy it yourself") from error
    file.write(file.data())


def _check_personas(pool: Pool, folder: Path) -> None:
    """A file beside a pool comes before the built-in persona of its name: another one there would be taken for it."""
    for name, community in pool.communities.items():
        if community.persona is None or not (folder / community.persona).is_file():
            continue
        try:
            same = PromptSet.load().persona(community.persona, folder) == pool.persona_text(name)
        except PromptError:
            same = False
        if not same:
            raise PoolError(
                f"{folder / community.persona} is there already, and is not the persona of [communities.{name}]; "
                "name another folder with --out"
            )


def _moved(place: str, old: Path, new: Path) -> str | None:
    """A path relative to one folder as it reads in another; None where it stays as it is."""
    if _is_fixed(place) or old.resolve() == new.resolve():
        return None
    return Path(os.path.relpath(old.resolve() / place, new.resolve())).as_posix()


def _is_fixed(place: str) -> bool:
    """Whether it is the same file from every folder."""
    return place.startswith(("package:", "hf:", "~")) or Path(place).is_absolute()


def _tables(lines: list[str]) -> list[tuple[int, int]]:
    """First line of every table, and the one after its last key; comments above the next table belong to that one."""
    begins = [at for at, line in enumerate(lines) if _HEADER.fullmatch(line)]
    return [(begin, _last(lines, begin, after)) for begin, after in zip(begins, [*begins[1:], len(lines)], strict=True)]


def _last(lines: list[str], begin: int, end: int) -> int:
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _parts(line: str) -> list[str]:
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


def _by_hand(path: Path) -> PoolError:
    return PoolError(
        f"{path} writes its tables in a way that this command cannot edit; write each as a table "
        "[communities.NAME], or edit the file by hand"
    )
