"""A model that lies in several files, NAME-00001-of-00003.gguf and so on: which they are, and how large together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from modular_pluralism.errors import ModelLoadError

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


@dataclass(frozen=True)
class PartName:
    """What the name of one part says: number `number`, from 1, of `count` files that begin with `stem`."""

    stem: str
    number: int
    count: int

    @classmethod
    def of(cls, name: str) -> PartName | None:
        """What a file's name says; None where it is not the name of a part. Folders before it stay in the stem."""
        match = _PART.fullmatch(name)
        if match is None or not 1 <= int(match["number"]) <= int(match["count"]):
            return None
        return cls(match["stem"], int(match["number"]), int(match["count"]))

    @property
    def first(self) -> str:
        """The name of the first part, with which the model is named."""
        return self.names[0]

    @property
    def names(self) -> list[str]:
        """The names of all parts, in order."""
        return [f"{self.stem}-{number:05d}-of-{self.count:05d}.gguf" for number in range(1, self.count + 1)]


def parts(path: Path) -> list[Path]:
    """The files of the model that `path` names, in order: all parts of a split one, else the file alone.

    Whether they are there is not looked at.
    """
    part = PartName.of(path.name)
    return [path] if part is None else [path.with_name(name) for name in part.names]


def size_of(path: Path) -> int:
    """Bytes of the model that `path` names, all its parts together. Raises OSError where one is missing."""
    return sum(part.stat().st_size for part in parts(path))


def latest_change(path: Path) -> int:
    """When the model, or that of its parts which changed last, was changed; in nanoseconds. Raises as `size_of`."""
    return max(part.stat().st_mtime_ns for part in parts(path))


def real_path(path: Path) -> Path:
    """The path without links, so that one model has one; a part of a split one keeps its name, since llama.cpp finds
    the others by it, and the hub's cache has links to nameless files in their place."""
    return path.resolve() if PartName.of(path.name) is None else path.parent.resolve() / path.name


def check_parts(path: Path) -> Path:
    """`path` itself, or where that is a link to a split model's first part, what it leads to.

    Raises:
        ModelLoadError: it is a later part of a split model, or a part is missing.
    """
    part = PartName.of(path.name)
    if part is None or _missing(path):
        led = path.resolve()
        led_part = PartName.of(led.name)
        if led_part is not None and (part is None or not _missing(led)):
            path, part = led, led_part
    if part is None:
        return path
    if part.number != 1:
        raise ModelLoadError(
            f"{path} is part {part.number} of {part.count} of a split model; name the first part, {part.first}."
        )
    if missing := _missing(path):
        if len(missing) == part.count:
            raise ModelLoadError(f"There is no file {path}; check the path.")
        others = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise ModelLoadError(
            f"{path.name} is one of {part.count} files of its model, and {missing[0].name}{others} not in "
            f"{path.parent}; put all of them into one folder."
        )
    return path


def _missing(path: Path) -> list[Path]:
    return [part for part in parts(path) if not part.is_file()]
