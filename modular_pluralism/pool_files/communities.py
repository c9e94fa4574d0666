"""Adding a community to a pool file, and removing one; every other line stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from modular_pluralism.errors import PoolError
from modular_pluralism.pool import COMMUNITY_NAME
from modular_pluralism.pool_files.pool_text import PoolText, by_hand, own_pool, parts_of, tables_of


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
    found = [span for span in tables_of(lines) if parts_of(lines[span[0]]) == ["communities", name]]
    rest = {key: value for key, value in known["communities"].items() if key != name}
    if len(found) != 1:
        raise by_hand(path)
    begin, end = found[0]
    while begin > 0 and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    while end < len(lines) - 1 and not lines[end].strip():
        end += 1
    del lines[begin:end]
    replace(file, text="\n".join(lines)).write(known | {"communities": rest})
