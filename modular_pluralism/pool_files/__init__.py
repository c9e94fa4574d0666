"""Editing the pool files of a user; what is not meant to change stays as it is, comments and line ends included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modular_pluralism.edit_lock import alone_at
from modular_pluralism.errors import PoolError
from modular_pluralism.pool import COMMUNITY_NAME, NAME_RULE
from modular_pluralism.pool_files.pool_text import PoolText, own_pool


def add_community(path: Path, name: str, fields: Mapping[str, str | float]) -> None:
    """Add the table [communities.NAME] with these keys behind the last community of the pool file.

    Raises:
        InputError: the pool is a built-in one.
        PoolError: no community can have that name, the file cannot be read or written, has the community already, or
            would not be a usable pool with it; the file stays as it is then.
    """
    if not COMMUNITY_NAME.fullmatch(name):  # else the file would be blamed for it
        raise PoolError(f"{name!r} {NAME_RULE}")
    with alone_at(own_pool(path)):
        file = PoolText.read(path)
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
    with alone_at(own_pool(path)):
        file = PoolText.read(path)
        known = file.data()
        if name not in known.get("communities", {}):
            there = ", ".join(known.get("communities", {})) or "none"
            raise PoolError(f"{path} has no community {name!r}; it has {there}")
        rest = {key: value for key, value in known["communities"].items() if key != name}
        file.without_table(("communities", name)).write(known | {"communities": rest})
