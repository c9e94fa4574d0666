"""What makes one result for each item of a task file: a method with its measures, or a judge of two methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from modular_pluralism.evaluation.data.items import Item

Result = dict[str, Any]
"""Plain values. `error` is None, or why there is no result for the item."""


class Maker(Protocol):
    """Makes results; safe to use for many items at once."""

    @property
    def name(self) -> str:
        """Under which results are kept."""

    async def make(self, place: int, item: Item) -> Result:
        """The result for the item at that place.

        Raises:
            PluralismError: none can be made for any item.
        """

    def scores(self, item: Item, result: Result) -> Mapping[str, float]:
        """The item's scores, for a log: always the same names."""

    def shown(self, item: Item, result: Result) -> str:
        """The result as a text to read."""
