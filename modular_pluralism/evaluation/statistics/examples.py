"""The best and the worst items of a method, kept while the items pass by."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import TypeAlias

from modular_pluralism.evaluation.data.items import Item, Kind, OvertonItem
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.statistics.results import Better, Example, Rank
from modular_pluralism.evaluation.statistics.scores import scores_of

SHOWN = 10
"""How many of the best, and how many of the worst."""

_Entry: TypeAlias = tuple[float, int, float, Item, Outcome]
"""How good, and minus its number, by which no two are equal; the score, the item and its outcome."""

ITEM_MEASURE: dict[Kind, tuple[str, str, Better]] = {
    "distributional": ("js", "JS distance", "lower"),
    "steerable-opinion": ("js", "JS distance", "lower"),
    "steerable-value": ("right", "probability of the right stance", "higher"),
    "overton": ("coverage", "value coverage", "higher"),
}
"""By which score items are ranked: its key, its name, and which way is good."""


def item_score(kind: Kind, item: Item, outcome: Outcome) -> float | None:
    """The item's score by the measure that single items of the kind are ranked by, None where it failed."""
    return scores_of(item, outcome).get(ITEM_MEASURE[kind][0])


class Extremes:
    """The ten best and the ten worst items of one method; memory is that of twenty."""

    def __init__(self, kind: Kind, method: str) -> None:
        self._key, self._measure, better = ITEM_MEASURE[kind]
        self._sign = 1 if better == "higher" else -1
        self._method = method
        self._seen = 0
        self._best: list[_Entry] = []
        self._worst: list[_Entry] = []

    def add(self, item: Item, outcome: Outcome, scores: Mapping[str, float]) -> None:
        """One more item; one without a score is neither good nor bad. Of equal ones, the first are kept."""
        self._seen += 1
        score = scores.get(self._key)
        if score is None:
            return
        for heap, sign in ((self._best, self._sign), (self._worst, -self._sign)):
            heapq.heappush(heap, (sign * score, -self._seen, score, item, outcome))
            if len(heap) > SHOWN:
                heapq.heappop(heap)

    def examples(self) -> list[Example]:
        """The best first, then the worst, each from the extreme inwards; no item is in both."""
        taken = {entry[1] for entry in self._best}
        worst = [entry for entry in self._worst if entry[1] not in taken]
        ranked: dict[Rank, list[_Entry]] = {"best": self._best, "worst": worst}
        return [
            self._example(rank, score, item, outcome)
            for rank, kept in ranked.items()
            for _, _, score, item, outcome in sorted(kept, reverse=True)
        ]

    def _example(self, rank: Rank, score: float, item: Item, outcome: Outcome) -> Example:
        prediction = outcome["prediction"]
        return Example(
            rank=rank,
            method=self._method,
            id=item.id,
            measure=self._measure,
            score=score,
            question=item.question,
            attribute=item.attribute,
            options=list(item.options),
            gold=list(item.gold),
            predicted=[] if prediction is None else prediction["rotate"],
            values=_covered_values(item, outcome) if isinstance(item, OvertonItem) else [],
            answer=outcome["answer"],
            comments=[
                (name, comment["text"] if comment["error"] is None else f"(no comment: {comment['error']})")
                for name, comment in outcome["comments"].items()
            ],
        )


def _covered_values(item: OvertonItem, outcome: Outcome) -> list[tuple[str, float]]:
    coverage = outcome["lists"].get("coverage", [])
    return list(zip(item.values, coverage, strict=True)) if len(coverage) == len(item.values) else []
