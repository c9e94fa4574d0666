"""The pools and prompts that clients of a server may choose, by name.

A name is only ever looked up among those that are offered, so no text from a client becomes a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from modular_pluralism.errors import ContextError, InputError, PoolError
from modular_pluralism.home import expanded
from modular_pluralism.pool import Pool
from modular_pluralism.pools import BUILT_IN_POOLS, POOL_VARIABLE
from modular_pluralism.prompts import PromptSet

POOLS_VARIABLE = "MODULAR_PLURALISM_POOLS"
"""Environment variable with the folder of the operator's pools: NAME.toml there is offered as NAME, even where a
built-in pool is called so."""
PROMPTS_VARIABLE = "MODULAR_PLURALISM_PROMPTS"
"""Environment variable with a folder of prompt folders, each offered under its name."""

T = TypeVar("T")


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def offered_pools() -> dict[str, str | Path]:
    """What `Pool.load` takes, by the name that clients use.

    Raises:
        InputError: the operator's folder cannot be read.
    """
    own = {path.stem: path for path in _entries(POOLS_VARIABLE) if path.suffix == ".toml" and path.is_file()}
    offered: dict[str, str | Path] = {name: name for name in BUILT_IN_POOLS} | own
    usual = os.environ.get(POOL_VARIABLE)
    return offered if not usual or usual in offered else {**offered, Path(usual).stem: usual}


def usual_pool() -> str:
    """The name of the pool of runs that name none: the operator's, or a built-in one."""
    usual = os.environ.get(POOL_VARIABLE)
    if not usual:
        return "perspective"
    return usual if usual in offered_pools() else Path(usual).stem


def offered_prompts() -> dict[str, Path]:
    """Prompt folders by name. Raises as `offered_pools` does."""
    return {path.name: path for path in _entries(PROMPTS_VARIABLE) if path.is_dir()}


def load_pool(name: str) -> Pool:
    """The pool of that name.

    Raises:
        ContextError: no such pool is offered.
        PoolError: it cannot be used.
    """
    chosen = _chosen("pool", name, offered_pools(), POOLS_VARIABLE)
    try:
        return Pool.load(chosen)
    except PoolError as error:
        raise (PoolError(f"{POOL_VARIABLE}: {error}") if chosen == os.environ.get(POOL_VARIABLE) else error) from error


def load_prompts(name: str | None) -> PromptSet:
    """The prompts in the folder of that name, or the built-in ones.

    Raises:
        ContextError: no such prompts are offered.
        PromptError: they cannot be used.
    """
    return PromptSet.load(None if name is None else _chosen("prompts", name, offered_prompts(), PROMPTS_VARIABLE))


def _chosen(what: str, name: str, offered: Mapping[str, T], variable: str) -> T:
    if name in offered:
        return offered[name]
    names = f"use one of {', '.join(offered)}" if offered else "leave it out"
    raise ContextError(
        f"This server offers no {what} {name[:64]!r}; {names}, or have its operator put it into the folder that "
        f"{variable} names."
    )


def _entries(variable: str) -> list[Path]:
    folder = os.environ.get(variable)
    if not folder:
        return []
    try:
        return sorted(path for path in expanded(folder).iterdir() if _NAME.fullmatch(path.stem))
    except OSError as error:
        raise InputError(f"{variable} names a folder that cannot be read ({error.strerror}); correct it.") from error
