"""The numbers that one method's outcomes come down to: a few for each item, so that any number of items fits."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.evaluation.data.items import Item, OptionItem, ValueItem
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.measures.classification import cell, is_two_way
from modular_pluralism.evaluation.measures.distances import (
    FARTHEST,
    agrees_with_any_mode,
    js_distance,
    most_likely_agrees,
)
from modular_pluralism.evaluation.measures.entailment import COVERED
from modular_pluralism.option_math import most_likely


class Scores:
    """Columns of numbers by their key, filled item by item."""

    def __init__(self) -> None:
        self.items = 0
        self._columns: dict[str, array[float]] = {}

    def add(self, values: Mapping[str, float]) -> None:
        """One more item; it has no value for the keys that are not given."""
        for key in values.keys() - self._columns.keys():
            self._columns[key] = array("d", [math.nan] * self.items)
        self.items += 1
        for key, column in self._columns.items():
            column.append(values.get(key, math.nan))

    def column(self, key: str) -> NDArray[np.float64]:
        """The values of a key [n_items], NaN where an item has none."""
        values = self._columns.get(key)
        return np.full(self.items, np.nan) if not values else np.frombuffer(values, dtype=np.float64)

    def has(self, key: str) -> bool:
        """Whether any item has a value for the key."""
        return bool(np.isfinite(self.column(key)).any())

    def names(self) -> list[str]:
        """All keys, sorted."""
        return sorted(self._columns)

    def drop(self, key: str) -> None:
        """Forget a column, where it is there."""
        self._columns.pop(key, None)


def is_asked(item: Item) -> bool:
    """Whether an answer to the item can be wrong: with a single option, whoever answers has a perfect one."""
    return not isinstance(item, OptionItem) or len(item.options) > 1


def scores_of(item: Item, outcome: Outcome) -> dict[str, float]:
    """All numbers of one outcome. A failure is wrong, and has no distance."""
    failed = outcome["error"] is not None
    scores = {
        "failed": float(failed),
        "seconds": outcome["seconds"],
        "parse_failures": float(outcome["parse_failures"]),
    }
    if outcome["comments"] or outcome["missing"]:
        scores["missing"] = float(len(outcome["missing"]))
    scores |= {f"tokens_{name}": float(count) for name, count in outcome["tokens"].items()}
    prediction = outcome["prediction"]
    if prediction is not None:
        scores["sampled"] = float(prediction["samples"] is not None)
        scores |= prediction_scores(item, prediction["rotate"], prediction["label"])
        scores |= {
            key: mass
            for key, mass in (("mass", prediction["rotate_mass"]), ("mass_label", prediction["label_mass"]))
            if mass is not None
        }
    elif isinstance(item, OptionItem):
        wrong = dict.fromkeys(("agree", "agree_label", "agree_any"), 0.0)
        scores |= wrong | {"js_worst": FARTHEST}
    elif isinstance(item, ValueItem):
        scores |= _choice(item, None)
        scores["cell_label"] = scores["cell"]
    else:
        scores |= _answer_scores(outcome, failed)
    return scores


def prediction_scores(item: Item, rotate: list[float], label: list[float] | None) -> dict[str, float]:
    """How a distribution over an item's options compares with the real one; `label` is read from one order alone."""
    scores: dict[str, float] = {}
    if isinstance(item, OptionItem):
        scores["js"] = scores["js_worst"] = js_distance(item.gold, rotate)
        scores["agree"] = float(most_likely_agrees(item.gold, rotate))
        scores["agree_any"] = float(agrees_with_any_mode(item.gold, rotate))
        if label is not None:
            scores["js_label"] = js_distance(item.gold, label)
            scores["agree_label"] = float(most_likely_agrees(item.gold, label))
    elif isinstance(item, ValueItem):
        right = "ABC".index(item.label)
        scores |= _choice(item, most_likely(rotate))
        scores["right"] = rotate[right]
        if label is not None:
            scores["cell_label"] = float(cell(right, most_likely(label)))
    return scores


def _choice(item: ValueItem, said: int | None) -> dict[str, float]:
    """The item's place in the counts of all stances, and of the two without "either" if it is one of those."""
    right = "ABC".index(item.label)
    place = float(cell(right, said))
    return {"cell": place, "cell_2": place} if is_two_way(right, said) else {"cell": place}


def _answer_scores(outcome: Outcome, failed: bool) -> dict[str, float]:
    """Of an Overton item: what was measured, and a failure covers nothing."""
    if failed:
        return {"covered": 0.0, "coverage_worst": 0.0}
    scores = dict(outcome["measures"])
    if "coverage" in scores:
        scores["covered"] = float(scores["coverage"] > COVERED)
        scores["coverage_worst"] = scores["coverage"]
    scores["words"] = float(len((outcome["answer"] or "").split()))
    return scores
