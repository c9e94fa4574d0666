"""The user's home folder, where there is one: a service or a container may run as a user without any."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import platformdirs

from modular_pluralism.errors import ConfigurationError, InputError


def home() -> Path | None:
    """The home folder, or None without one."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def expanded(path: str | Path, error: type[ConfigurationError] = InputError) -> Path:
    """The path, with the home folder in the place of a ~ that it begins with. Raises `error` where nobody has that."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        first = Path(path).parts[0]
        why = "you have no home folder here" if first == "~" else f"no user {first[1:]!r} has a home folder here"
        raise error(f"{path} cannot be found, since {why}; write the path without {first}.") from None


FILES_VARIABLE = "MODULAR_PLURALISM_FILES"
CACHE_VARIABLE = "MODULAR_PLURALISM_CACHE"
"""The environment variable that names another folder for the cache."""


def check_inside(path: Path, folder: Path, error: type[ConfigurationError] = InputError) -> None:
    """Raise `error` where a text that a pool names does not lie in the pool's folder, links followed, nor in a folder
    that the variable MODULAR_PLURALISM_FILES lists: models are told what stands in it."""
    listed = [expanded(each, error) for each in os.environ.get(FILES_VARIABLE, "").split(os.pathsep) if each]
    real = path.resolve()
    if not any(real.is_relative_to(each.resolve()) for each in (folder, *listed)):
        raise error(
            f"{path} is {real}, outside the pool's folder; put the file there, or list its folder in {FILES_VARIABLE}"
        )


def own_folder(kind: Literal["data", "cache"], what: str, other: str) -> Path:
    """Where this package keeps the user's own data, or what can be made anew: on Linux, as the XDG variables say.

    Raises InputError where that would lie in the home folder, and there is none: `what` would be kept there, and
    `other` says how to name another place.
    """
    find = platformdirs.user_data_path if kind == "data" else platformdirs.user_cache_path
    try:
        folder = find("modular-pluralism", appauthor=False)
    except RuntimeError:
        folder = Path()
    if not folder.is_absolute():  # earlier versions of platformdirs leave the ~ as it is
        raise InputError(f"You have no home folder here to keep {what} in; {other}.")
    return folder


def cache_root(what: str) -> Path:
    """The folder of what can be made anew; it need not exist yet.

    Raises InputError where there is no home folder to keep `what` in.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return expanded(named).absolute()
    return own_folder("cache", what, f"name a folder in {CACHE_VARIABLE}")
