"""Writing fitted priors into a pool's file, with everything else in it as it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.evaluation.replaced_file import replaced_file
from modular_pluralism.pool import BUILT_IN_POOLS, Pool

_DECIMALS = 4


def pool_file(name_or_path: str) -> Path:
    """The file of a pool that can be written.

    Raises:
        InputError: it is a built-in pool.
        PoolError: there is no such pool.
    """
    Pool.load(name_or_path)
    if name_or_path in BUILT_IN_POOLS:
        raise InputError(
            f"{name_or_path} is a built-in pool, which is never written; make a pool file of your own, and name it "
            "with --pool FILE."
        )
    return Path(name_or_path)


def write_priors(
    path: Path, weights: Mapping[str, float], by_attribute: Mapping[str, Mapping[str, float]] | None = None
) -> None:
    """Set every community's `prior`, and a [priors.*] table for each attribute; weights have four decimals.

    Comments, order and all other keys stay, and so do tables of attributes that are not named. The file appears whole
    or stays as it is.

    Raises:
        PoolError: the file cannot be read or written, or would not be a pool afterwards.
    """
    try:
        document = tomlkit.parse(path.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, TOMLKitError) as error:
        raise PoolError(f"{path} cannot be read to write priors into it ({error}); correct the file") from error
    communities: Any = document["communities"]
    for name, weight in weights.items():
        communities[name]["prior"] = round(weight, _DECIMALS)
    if by_attribute:
        tables: Any = document.setdefault("priors", tomlkit.table(is_super_table=True))
        for attribute, of_attribute in by_attribute.items():
            table = tomlkit.table()
            for name, weight in of_attribute.items():
                table[name] = round(weight, _DECIMALS)
            tables[attribute] = table
    text = tomlkit.dumps(document)
    Pool.from_toml(text, source=str(path), folder=path.absolute().parent)
    try:
        with replaced_file(path) as file:
            file.write(text)
    except OSError as error:
        raise PoolError(f"{path} cannot be written ({error.strerror}); make room, or name another pool") from error
