"""The continent of a country, for choosing a community's rows."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from modular_pluralism.evaluation.data.groups import OTHER, country
from modular_pluralism.evaluation.data.groups import continent as known_continent
from modular_pluralism.optional import optional


def continent_of(name: str) -> str | None:
    """The continent of a country, such as "South America", or None where the name is no country's.

    The names of GlobalOpinionQA are looked up in the table that reports use, so that both agree; other spellings and
    codes ("DEU", "Deutschland" is not one of them) are those that the library country_converter knows.

    Raises:
        ModelLoadError: country_converter is wanted and not installed.
    """
    found = known_continent(name)
    return found if found != OTHER else _looked_up(country(name))


@cache
def _looked_up(name: str) -> str | None:
    found = _converter().convert(name, to="Continent_7", not_found=None)
    # Several countries in one name give a list; a name that is not found comes back as it is.
    return found if isinstance(found, str) and found != name else None


@cache
def _converter() -> Any:
    import logging

    library = optional("country_converter", "train", "Mapping countries to continents")
    pandas = optional("pandas", "train", "Mapping countries to continents")
    logging.getLogger("country_converter").setLevel(logging.CRITICAL)  # it warns of every name that it does not know
    # Read here, since newer versions of pandas take Namibia's code "NA" for a missing value when the library reads it.
    table = Path(library.__file__).parent / "country_data.tsv"
    rows = pandas.read_csv(table, sep="\t", encoding="utf-8", dtype=str, keep_default_na=False)
    for column in rows.columns:
        if column not in ("ISO2", "ISO3", "regex", "name_short", "name_official"):
            rows[column] = rows[column].mask(rows[column] == "")
    return library.CountryConverter(country_data=rows)
