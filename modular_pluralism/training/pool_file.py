"""Adding a community to a pool file, and removing one; every other line of the file stays as it is."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modular_pluralism.errors import PoolError
from modular_pluralism.evaluation.replaced_file import replaced_file
from modular_pluralism.pool import BUILT_IN_POOLS, PAPER_POOLS, Pool

_HEADER = re.compile(r"\s*\[+\s*(?P<name>[^\]]+?)\s*\]+\s*(?:#.*)?")


def add_community(path: Path, name: str, fields: Mapping[str, str | float]) -> None:
    """Add the table [communities.NAME] with these keys behind the last community of the pool file.

    Raises:
        PoolError: the file cannot be read or written, has the community already, or would not be a usable pool with it;
            the file stays as it is then.
    """
    text = _read(path)
    known = _parsed(text, path)
    if name in known.get("communities", {}):
        raise PoolError(f"{path} has a community {name!r} already; remove it first, or choose another name")
    table = [f"[communities.{name}]", *(f"{key} = {_toml(value)}" for key, value in fields.items())]
    lines = text.split("\n")
    ends = [end for begin, end in _tables(lines) if _is_community(lines[begin])]
    at = max(ends) if ends else _last(lines, 0, len(lines))
    lines[at:at] = ["", *table]
    if at + len(table) + 1 == len(lines):
        lines.append("")
    communities = known.get("communities", {}) | {name: dict(fields)}
    _write(path, "\n".join(lines), known | {"communities": communities})


def remove_community(path: Path, name: str) -> None:
    """Remove the table [communities.NAME] from the pool file, with the comment lines right above it.

    Raises:
        PoolError: as `add_community`, or there is no such community, or it is written in a way that only a person can
            edit.
    """
    text = _read(path)
    known = _parsed(text, path)
    if name not in known.get("communities", {}):
        raise PoolError(f"{path} has no community {name!r}; it has {', '.join(known.get('communities', {})) or 'none'}")
    lines = text.split("\n")
    found = [span for span in _tables(lines) if _is_community(lines[span[0]], name)]
    rest = {key: value for key, value in known["communities"].items() if key != name}
    wanted = known | {"communities": rest}
    if len(found) != 1:
        raise _by_hand(path)
    begin, end = found[0]
    while begin > 0 and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    while end < len(lines) - 1 and not lines[end].strip():
        end += 1
    del lines[begin:end]
    _write(path, "\n".join(lines), wanted)


def _tables(lines: list[str]) -> list[tuple[int, int]]:
    """First line of every table, and the one after its last key; comments above the next table belong to that one."""
    begins = [at for at, line in enumerate(lines) if _HEADER.fullmatch(line)]
    return [(begin, _last(lines, begin, after)) for begin, after in zip(begins, [*begins[1:], len(lines)], strict=True)]


def _last(lines: list[str], begin: int, end: int) -> int:
    while end > begin + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _is_community(line: str, name: str | None = None) -> bool:
    match = _HEADER.fullmatch(line)
    parts = [part.strip().strip("\"'") for part in match["name"].split(".")] if match else []
    return len(parts) == 2 and parts[0] == "communities" and name in (None, parts[1])


def _toml(value: str | float) -> str:
    # JSON's way to write text is also one of TOML's.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _read(path: Path) -> str:
    if str(path) in (*BUILT_IN_POOLS, *PAPER_POOLS):
        raise PoolError(f"{path} is a built-in pool, which is not edited; give the path of a pool file of your own")
    Pool.load(path)  # says what is wrong with it
    return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise PoolError(f"{path} is not TOML ({error}); correct it") from error


def _write(path: Path, text: str, wanted: dict[str, Any]) -> None:
    try:
        same = tomllib.loads(text) == wanted
    except ValueError:
        same = False
    if not same:
        raise _by_hand(path)
    Pool.from_toml(text, source=str(path), folder=path.absolute().parent)
    try:
        with replaced_file(path.resolve()) as file:
            file.write(text)
    except OSError as error:
        raise PoolError(f"{path} cannot be written ({error.strerror or error}); allow writing it") from error


def _by_hand(path: Path) -> PoolError:
    return PoolError(
        f"{path} writes its communities in a way that this command cannot edit; write each as a table "
        "[communities.NAME], or edit the file by hand"
    )
