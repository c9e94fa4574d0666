"""What the answer to an item really is, as a distribution over its options."""

from __future__ import annotations

from modular_pluralism.evaluation.data.items import Item, OptionItem, ValueItem


def gold_of(item: Item) -> tuple[float, ...] | None:
    """[n_options], summing to 1; all for the right stance of an item by value. None for an Overton item, which has no
    options."""
    match item:
        case OptionItem():
            return item.gold
        case ValueItem():
            return tuple(float(letter == item.label) for letter in "ABC")
        case _:
            return None
