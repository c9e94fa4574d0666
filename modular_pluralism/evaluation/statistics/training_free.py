"""Baselines that ask no model: what a method has to beat.

Three know the items' real answers and nothing of the question, and look only at items with equally many options. The
fourth, where there is a record of answered questions, looks for those that are nearest to an item's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from modular_pluralism.errors import NoEvidenceError
from modular_pluralism.evaluation.data.items import Item, OptionItem
from modular_pluralism.option_math import most_likely
from modular_pluralism.records.record import CommunityRecord, Estimated

Baseline = Literal["uniform", "majority", "mean", "nearest questions"]

BASELINES: tuple[Baseline, ...] = ("uniform", "majority", "mean")
"""Those that need nothing but the items."""

NEAREST: Baseline = "nearest questions"
_STEPS = (0.2, 0.4, 0.6, 0.8)
"""Similarities between which items are grouped by their nearest answered question."""


class TrainingFree:
    """Sums over a task file's items, of as many numbers as there are places for an option."""

    def __init__(self, items: Iterable[Item] = (), record: CommunityRecord | None = None) -> None:
        self.record = record
        self._near: dict[tuple[str, tuple[str, ...], str], Estimated | None] = {}
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
        items. "nearest questions": what the record estimates from other questions than the item's own; None where it
        has no question with options that fit.
        """
        if baseline == NEAREST:
            near = self._nearest(item)
            return None if near is None else near.distribution
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

    def distance_group(self, item: Item) -> str | None:
        """How near the nearest answered question is to the item's own, as a group for a report; None where that cannot
        be told."""
        near = self._nearest(item)
        if near is None:
            return None
        return nearness_group(near.evidence["nearness"])

    def _nearest(self, item: Item) -> Estimated | None:
        if self.record is None or not isinstance(item, OptionItem):
            return None
        key = (item.question, item.options, item.attribute)
        if key not in self._near:
            try:
                self._near[key] = self.record.estimate(*key, itself=False)
            except NoEvidenceError:
                self._near[key] = None
        return self._near[key]


def nearness_group(nearness: float) -> str:
    """A similarity of the nearest answered question, 0 to 1, as a group for a report."""
    low = max((step for step in _STEPS if step <= nearness), default=0.0)
    high = min((step for step in _STEPS if step > nearness), default=1.0)
    return f"{low:.1f} to {high:.1f}"
