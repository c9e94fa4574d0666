"""Whose answers a survey's attribute stands for, as a model may be told."""

from __future__ import annotations

import re

from modular_pluralism.records.countries import country

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
