"""Whether options that a method gives a share of, say, 30 per cent really have one of 30 per cent."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np

from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.statistics.bootstrap import Draw, ratio
from modular_pluralism.evaluation.statistics.results import ReliabilityPoint

BINS = 10


class Reliability:
    """Sums by bin of the predicted share, kept for each item, as an item's options cannot be resampled apart."""

    def __init__(self) -> None:
        self._rows = array("d")
        self._seen = 0
        self._places = array("q")
        self._in_between = False

    def add(self, item: Item, outcome: Outcome) -> None:
        """One more item; a failure has predicted nothing, and a single option has a share of 1 whoever predicts it."""
        self._seen += 1
        prediction = outcome["prediction"]
        if prediction is None or len(item.gold) < 2:
            return
        rows = np.zeros((3, BINS))
        for predicted, real in zip(prediction["rotate"], item.gold, strict=True):
            place = min(int(predicted * BINS), BINS - 1)
            rows[:, place] += (predicted, real, 1)
            self._in_between = self._in_between or 0 < predicted < 1
        self._rows.extend(rows.ravel())
        self._places.append(self._seen - 1)

    def points(self, draw: Draw) -> list[ReliabilityPoint]:
        """A point for each bin with an option in it, with the interval from resampled questions.

        None at all where every share was 0 or 1: choices that were made have no reliability curve.
        """
        if not self._in_between:
            return []
        features = np.frombuffer(self._rows, dtype=np.float64).reshape(-1, 3 * BINS)
        mine = None if draw.clusters is None else draw.clusters[np.asarray(self._places)]
        bootstrap = replace(draw, clusters=mine).of(features)
        predicted, _, options = features.sum(0).reshape(3, BINS)
        return [
            ReliabilityPoint(
                predicted=float(predicted[each] / options[each]),
                real=bootstrap.figure(
                    ratio(BINS + each, 2 * BINS + each),
                    n=int(options[each]),
                    share=True,
                    clusters=bootstrap.clusters_with(slice(2 * BINS + each, 2 * BINS + each + 1)),
                ),
            )
            for each in range(BINS)
            if options[each]
        ]
