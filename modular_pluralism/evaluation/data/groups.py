"""The groups that an item belongs to in a report's tables, and what of its attribute a model may be told."""

from __future__ import annotations

import re

from modular_pluralism.evaluation.data.items import STANCES, Item, Kind, OptionItem, ValueItem

OTHER = "other"
"""The continent of a country that is not in the table."""

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

_COUNTRIES = {
    "Africa": (
        "Algeria, Angola, Botswana, Burkina Faso, Cameroon, Egypt, Ethiopia, Ghana, Ivory Coast, Kenya, Libya, Malawi, "
        "Mali, Morocco, Mozambique, Namibia, Nigeria, Rwanda, Senegal, South Africa, Sudan, Tanzania, Tunisia, Uganda, "
        "Zambia, Zimbabwe"
    ),
    "Asia": (
        "Afghanistan, Armenia, Azerbaijan, Bahrain, Bangladesh, Cambodia, China, Cyprus, Georgia, Hong Kong, India, "
        "Indonesia, Iran, Iraq, Israel, Japan, Jordan, Kazakhstan, Kuwait, Kyrgyzstan, Lebanon, Macau, Malaysia, "
        "Maldives, Mongolia, Myanmar, Nepal, Pakistan, Palestinian territories, Philippines, Qatar, Saudi Arabia, "
        "Singapore, South Korea, Sri Lanka, Syria, Taiwan, Tajikistan, Thailand, Turkey, Turkmenistan, "
        "United Arab Emirates, Uzbekistan, Vietnam, Yemen"
    ),
    "Europe": (
        "Albania, Andorra, Austria, Belarus, Belgium, Bosnia Herzegovina, Britain, Bulgaria, Croatia, Czechia, "
        "Denmark, Estonia, Finland, France, Germany, Greece, Hungary, Iceland, Ireland, Italy, Latvia, Lithuania, "
        "Luxembourg, Malta, Moldova, Montenegro, Netherlands, North Macedonia, Northern Ireland, Norway, Poland, "
        "Portugal, Romania, Russia, Serbia, Slovakia, Slovenia, Spain, Sweden, Switzerland, Ukraine"
    ),
    "North America": (
        "Canada, Costa Rica, Cuba, Dominican Republic, El Salvador, Guatemala, Haiti, Honduras, Jamaica, Mexico, "
        "Nicaragua, Panama, Puerto Rico, Trinidad and Tobago, United States"
    ),
    "Oceania": "Australia, New Zealand",
    "South America": (
        "Argentina, Bolivia, Brazil, Chile, Colombia, Ecuador, Guyana, Paraguay, Peru, Suriname, Uruguay, Venezuela"
    ),
}
"""Continents as the United Nations' M49 standard has them; Taiwan, which it does not list, is in Asia."""

_CONTINENT = {name.strip(): continent for continent, names in _COUNTRIES.items() for name in names.split(",")}


def country(attribute: str) -> str:
    """The country of GlobalOpinionQA's attribute, under one name, without its note on the sample in brackets."""
    name = re.sub(r"\s*\([^()]*\bsample\)\s*\Z", "", attribute).strip()
    return _ONE_NAME.get(name, name)


def continent(attribute: str) -> str:
    """Its continent, or OTHER."""
    return _CONTINENT.get(country(attribute), OTHER)


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
