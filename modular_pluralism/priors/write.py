"""Writing fitted priors and voice settings into a pool's file, with everything else in it as it was."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modular_pluralism.edit_lock import alone_at
from modular_pluralism.errors import PoolError
from modular_pluralism.pool import Pool, one_space
from modular_pluralism.pool_files.pool_text import PoolText, check_writable, own_pool
from modular_pluralism.toml_text import in_toml, set_key

_DECIMALS = 4

_Weights = Mapping[str, float]


def pool_file(name_or_path: str, *, run: bool = False) -> Path:
    """The file of a pool that priors can be written into, and with `run` keys of the [run] table, too.

    Raises:
        InputError: it is a built-in pool.
        PoolError: there is no such pool, or its file cannot be written, or only by a person.
    """
    path = own_pool(name_or_path)
    check_writable(path)
    pool = Pool.load(path)
    equal = dict.fromkeys(pool.communities, 1.0)
    file, wanted = _with_priors(PoolText.read(path), equal, dict.fromkeys(pool.priors_by_attribute, equal))
    file, wanted = _with_run(file, wanted, {"voice_pooling": "linear"} if run else {})
    file.check(wanted)
    return path


def write_priors(
    path: Path,
    weights: _Weights,
    by_attribute: Mapping[str, _Weights] | None = None,
    run: Mapping[str, Any] | None = None,
) -> None:
    """Set every community's `prior`, a [priors.*] table for each attribute, and these keys of the [run] table; weights
    have four decimals.

    Comments, order, line ends and all other keys stay, and so do tables of attributes that are not named. What a key
    of [run] says of voices that are not named there stays, too. The file appears whole or stays as it is.

    Raises:
        PoolError: the file cannot be read or written, has other communities, or would not be a pool afterwards.
    """
    with alone_at(path):
        text = PoolText.read(path)
        Pool.load(path)  # it may have been edited since the weights were fitted
        file, wanted = _with_priors(text, weights, by_attribute or {})
        file, wanted = _with_run(file, wanted, run or {})
        file.write(wanted)


def _with_priors(
    file: PoolText, weights: _Weights, by_attribute: Mapping[str, _Weights]
) -> tuple[PoolText, dict[str, Any]]:
    """The file with these weights, and what its text then has to say."""
    wanted: dict[str, Any] = copy.deepcopy(file.data())
    if set(wanted.get("communities", {})) != set(weights):
        raise PoolError(
            f"{file.path} no longer has the communities that weights were fitted for ({', '.join(weights)}); put the "
            "weights in by hand, or fit them anew"
        )
    document: Any = file.document()
    for name, weight in weights.items():
        wanted["communities"][name]["prior"] = round(weight, _DECIMALS)
        set_key(document["communities"][name], "prior", round(weight, _DECIMALS))
    # An attribute's table may be written with other white space than the attribute.
    there = {one_space(name): name for name in wanted.get("priors", {})}
    new: dict[str, dict[str, float]] = {}
    for attribute, of_attribute in by_attribute.items():
        rounded = {name: round(weight, _DECIMALS) for name, weight in of_attribute.items()}
        attribute = there.get(one_space(attribute), attribute)
        if attribute in wanted.get("priors", {}):
            _update(document["priors"][attribute], rounded)
        else:
            new[attribute] = rounded
        wanted.setdefault("priors", {})[attribute] = rounded
    file = file.edited(document)
    for attribute, rounded in new.items():
        file = file.with_table(("priors", attribute), rounded)
    return file, wanted


def _with_run(file: PoolText, wanted: dict[str, Any], keys: Mapping[str, Any]) -> tuple[PoolText, dict[str, Any]]:
    """The same with these keys of [run]; a table among them is laid over the one that is there."""
    if not keys:
        return file, wanted
    there = wanted.get("run", {})
    values = {
        key: {**there.get(key, {}), **value} if isinstance(value, Mapping) else value for key, value in keys.items()
    }
    document: Any = file.document()
    wanted["run"] = {**there, **values}
    as_text = {key: in_toml(value) for key, value in values.items()}
    if "run" not in document:
        return file.with_top_table("run", as_text), wanted
    for key, value in as_text.items():
        set_key(document["run"], key, value)
    return file.edited(document), wanted


def _update(table: Any, values: Mapping[str, float]) -> None:
    """Set these keys, and remove all others; comments stay."""
    for name in [name for name in table if name not in values]:
        del table[name]
    for name, value in values.items():
        set_key(table, name, value)
