"""Baselines that know the items' real answers and nothing of the question: what a method has to beat.

Each looks only at items with equally many options.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.option_math import most_likely

Baseline = Literal["uniform", "majority", "mean"]

BASELINES: tuple[Baseline, ...] = ("uniform", "majority", "mean")


class TrainingFree:
    """Sums over a task file's items, of as many numbers as there are places for an option."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items: dict[int, int] = defaultdict(int)
        self._shares: dict[int, list[float]] = {}
        self._modes: dict[int, list[int]] = {}
        for item in items:
            self.add(item)

    def add(self, item: Item) -> None:
        """Take one more item into account; Overton items have no options and count for nothing."""
        gold, count = item.gold, len(item.gold)
        if not gold:
            return
        shares = self._shares.setdefault(count, [0.0] * count)
        self._items[count] += 1
        for place, share in enumerate(gold):
            shares[place] += share
        self._modes.setdefault(count, [0] * count)[most_likely(gold)] += 1

    def predict(self, baseline: Baseline, item: Item, *, itself: bool = False) -> list[float] | None:
        """The baseline's distribution for an item that was taken into account: [n_options], summing to 1.

        "uniform": the same for all options. "mean": the mean of the others' real distributions, or of all with
        `itself`. "majority": all for the place that is the most likely one in most items, this one included. None where
        no other item has as many options, so that the latter two know nothing but the item itself, and for Overton
        items.
        """
        gold, count = item.gold, len(item.gold)
        if not gold:
            return None
        if baseline == "uniform":
            return [1 / count] * count
        if self._items[count] < 2:
            return None
        if baseline == "mean":
            # An item moves the mean by one part in their number, so that leaving it out moves a distance by as little.
            out = (0.0,) * count if itself else gold
            left = [max(0.0, total - share) for total, share in zip(self._shares[count], out, strict=True)]
            return [share / sum(left) for share in left]
        # Without the item itself, a near tie would always go against it: of 300 stances split evenly, none would be
        # right. With it, the baseline is a little too good, which the methods cannot gain from.
        modes = self._modes[count]
        most = most_likely(modes)
        return [float(place == most) for place in range(count)]
