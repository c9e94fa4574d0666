"""The groups that an item belongs to in a report's tables."""

from __future__ import annotations

from modular_pluralism.evaluation.data.items import STANCES, Item, Kind, OvertonItem, ValueItem
from modular_pluralism.records.countries import continent, country
from modular_pluralism.records.populations import AMBIGUITY, DEMOGRAPHIC, category_and_group


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
    if isinstance(item, OvertonItem):
        return {"perspectives": f"{len(item.values):2} perspectives"} if item.by_perspectives else {}
    if item.attribute in AMBIGUITY:
        return {"ambiguity": AMBIGUITY[item.attribute]}
    if kind == "steerable-opinion" or DEMOGRAPHIC.match(item.attribute):
        category, group = category_and_group(item.attribute)
        return {"category": category, "group": f"{category}: {group}" if group else category}
    return {"continent": continent(item.attribute), "country": country(item.attribute)}
