"""Which rows of the data are a community's: `--where` and `--group`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from modular_pluralism.errors import TrainingDataError
from modular_pluralism.records.countries import OTHER, continent
from modular_pluralism.records.rows import Row

CONTINENT = "continent"
"""A field that is computed from the attribute where the data has no such column."""


class Condition(NamedTuple):
    """Rows whose `field` has this `value`; upper and lower case, spaces and underscores do not matter."""

    field: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """The condition in "FIELD=VALUE". Raises TrainingDataError where it is none."""
        field, equals, value = (part.strip() for part in text.partition("="))
        if not (field and equals and value):
            raise TrainingDataError(f"--where {text!r} is no condition; write it as FIELD=VALUE, as continent=europe.")
        return cls(field, value)


def plain(value: object) -> str:
    """A value as it is compared: small letters, and one space where there are spaces, hyphens or underscores."""
    return re.sub(r"[\s_-]+", " ", str(value)).strip().casefold()


def choose(rows: Sequence[Row], conditions: Sequence[Condition], attribute: str = "attribute") -> list[Row]:
    """The rows that meet all conditions; `attribute` is the column whose countries have a continent.

    Raises:
        TrainingDataError: no row has the field, or none has the value; lists some values that there are.
    """
    chosen = list(rows)
    for condition in conditions:
        value_of = _reader(rows, condition.field, attribute)
        wanted = plain(condition.value)
        if not any(plain(value_of(row)) == wanted for row in rows):
            raise TrainingDataError(
                f"No row has {condition.field}={condition.value}; there are {_some(map(value_of, rows))}."
            )
        chosen = [row for row in chosen if plain(value_of(row)) == wanted]
    if not chosen:
        raise TrainingDataError("No row meets all conditions of --where at once; leave one of them out.")
    return chosen


def grouped(rows: Sequence[Row], field: str, attribute: str = "attribute") -> dict[str, list[Row]]:
    """The rows by the value of `field`, in the order of the values; rows without one are left out.

    Raises:
        TrainingDataError: no row has the field.
    """
    value_of = _reader(rows, field, attribute)
    groups: dict[str, tuple[str, list[Row]]] = {}
    for row in rows:
        if value := value_of(row):
            groups.setdefault(plain(value), (value, []))[1].append(row)
    return {value: rows for _, (value, rows) in sorted(groups.items())}


def _reader(rows: Sequence[Row], field: str, attribute: str) -> Callable[[Row], str]:
    if any(field in row.fields for row in rows):
        return lambda row: str(row.fields.get(field, ""))
    if field == CONTINENT and any(attribute in row.fields for row in rows):
        return lambda row: continent(str(row.fields.get(attribute, ""))).replace(OTHER, "")
    known = dict.fromkeys(name for row in rows for name in row.fields)
    continents = f", or {CONTINENT}" if attribute in known else ""
    raise TrainingDataError(f"No row has a field {field!r}; use one of {', '.join(known)}{continents}.")


def _some(values: Iterable[str]) -> str:
    known = sorted(set(filter(None, values)))
    shown = ", ".join(value[:40] for value in known[:12])
    return f"{shown} and {len(known) - 12} more" if len(known) > 12 else shown or "none"
