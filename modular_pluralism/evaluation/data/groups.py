"""The groups that an item belongs to in a report's tables, and what of its attribute a model may be told."""

from __future__ import annotations

import re

from modular_pluralism.evaluation.data.countries import continent, country
from modular_pluralism.evaluation.data.items import STANCES, Item, Kind, OptionItem, ValueItem

AMBIGUITY = {"low_ambiguity": "low ambiguity", "high_ambiguity": "high ambiguity"}
"""MoralChoice's attributes. They say whether there is a right answer, so that no model may be told."""

CATEGORIES = {
    "POLPARTY": "political party",
    "POLIDEOLOGY": "political ideology",
    "RELIG": "religion",
    "RACE": "race",
    "EDUCATION": "education",
    "INCOME": "income",
    "CREGION": "region of the United States",
    "SEX": "sex",
}
"""OpinionQA's categories in words."""

DEMOGRAPHIC = re.compile(r"[A-Z][A-Z0-9]*_.")
"""The beginning of an attribute such as RELIG_Atheist, which names a demographic group."""


def category_and_group(attribute: str) -> tuple[str, str]:
    """OpinionQA's category, in words, and its group: ("religion", "Atheist") of RELIG_Atheist."""
    category, _, group = attribute.partition("_")
    return CATEGORIES.get(category, category.lower()), group


def sort_of_value(value: str) -> str:
    """Value Kaleidoscope's three sorts, which it tells apart by their first words."""
    words = value.split(maxsplit=1)
    return {"right": "right", "duty": "duty"}.get(words[0].lower(), "value") if words else "value"


def groups(item: Item, kind: Kind) -> dict[str, str]:
    """The item's group in each of the groupings that its kind is reported by."""
    if isinstance(item, ValueItem):
        return {
            "label": f"{item.label} ({STANCES['ABC'.index(item.label)].lower()})",
            "sort of value": sort_of_value(item.value),
        }
    if not isinstance(item, OptionItem):
        return {}
    if item.attribute in AMBIGUITY:
        return {"ambiguity": AMBIGUITY[item.attribute]}
    if kind == "steerable-opinion" or DEMOGRAPHIC.match(item.attribute):
        category, group = category_and_group(item.attribute)
        return {"category": category, "group": f"{category}: {group}" if group else category}
    return {"continent": continent(item.attribute), "country": country(item.attribute)}


def population(attribute: str) -> str | None:
    """Whose answers are asked for, as a model may be told: "Kenya", or "Conservative (political ideology)".

    None for MoralChoice, where the attribute would give the answer away.
    """
    if attribute in AMBIGUITY:
        return None
    if DEMOGRAPHIC.match(attribute):
        category, group = category_and_group(attribute)
        return f"{group} ({category})"
    return country(attribute)
