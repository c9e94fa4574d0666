"""Countries as surveys name them, and their continents: for reports, and for choosing a community's rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from importlib.resources import files

OTHER = "other"
"""The continent of a country that is not in the table."""

_ONE_NAME = {
    "Czech Rep.": "Czechia",
    "Great Britain": "Britain",
    "Hong Kong SAR": "Hong Kong",
    "Macau SAR": "Macau",
    "Palest. ter.": "Palestinian territories",
    "S. Africa": "South Africa",
    "S. Korea": "South Korea",
    "Taiwan ROC": "Taiwan",
}
"""GlobalOpinionQA takes its questions from two surveys that name some countries differently, or shorten them."""


def _spellings() -> Iterator[tuple[str, str]]:
    """Names in small letters, and codes, each with its continent.

    The table has continents as the United Nations' M49 standard has them; Taiwan and Kosovo, which it does not list,
    are in Asia and Europe. Each country has its names, with "/" between them, and its codes of ISO 3166.
    """
    table = files(__package__).joinpath("countries.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(table.splitlines()):
        for spelling in (*row["names"].casefold().split("/"), row["alpha-2"], row["alpha-3"]):
            if spelling:
                yield spelling, row["continent"]


_CONTINENT = dict(_spellings())


def country(attribute: str) -> str:
    """The country of GlobalOpinionQA's attribute, under one name, without its note on the sample in brackets."""
    name = re.sub(r"\s*\([^()]*\bsample\)\s*\Z", "", attribute).strip()
    return _ONE_NAME.get(name, name)


def continent(attribute: str) -> str:
    """The continent of a country, by its name or its code, such as "South America", or OTHER."""
    name = country(attribute)
    return _CONTINENT.get(name, _CONTINENT.get(name.casefold(), OTHER))
