"""Percentile bootstrap intervals of any statistic of sums over items, all from the same resampled items."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.evaluation.results import Figure

RESAMPLES = 2000
LEVEL = 0.95

Sums: TypeAlias = NDArray[np.float64]
"""[..., n_features]: what the features of the items sum to."""

Statistic: TypeAlias = Callable[[Sums], NDArray[np.float64]]
"""[..., n_features] to [...]; NaN where it has no value."""

_BLOCK = 1_000_000  # numbers that are drawn at once: 8 MB for each of three arrays


class Bootstrap:
    """Items drawn again with replacement, as many as there are, RESAMPLES times.

    `features` [n_items, n_features] are finite. Every figure is computed from the same draws, so that figures of two
    methods can be compared, and their difference is one of pairs. Memory beside the features does not grow with the
    items, beyond one row of them.
    """

    def __init__(self, features: NDArray[np.float64], *, seed: int, resamples: int = RESAMPLES) -> None:
        self.items = len(features)
        self._total: Sums = np.array([math.fsum(column) for column in features.T])
        self._resampled: Sums | None = None
        if self.items > 1:  # one item has nothing to draw from
            self._resampled = np.concatenate(
                [weights @ features for weights in _weights(self.items, seed, resamples)], axis=0
            )

    def figure(self, statistic: Statistic, *, n: int, difference: bool = False) -> Figure:
        """The statistic of all items, with its interval: the 2.5 and 97.5 percentiles over the resamples.

        `n` is how many items it is over; `difference` says that it is clear where the interval excludes zero.
        Resamples in which the statistic has no value are left out.
        """
        found = float(statistic(self._total))
        if not np.isfinite(found):
            return Figure(value=None, n=n)
        if self._resampled is None or n < 2:
            return Figure(value=found, n=n)
        drawn = statistic(self._resampled)
        drawn = drawn[np.isfinite(drawn)]
        if not len(drawn):
            return Figure(value=found, n=n)
        low, high = (float(end) for end in np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
        return Figure(value=found, low=low, high=high, n=n, clear=difference and (low > 0 or high < 0))


def ratio(numerator: int, denominator: int) -> Statistic:
    """The statistic that divides one feature's sum by another's, such as a mean: NaN where there is nothing."""

    def statistic(sums: Sums) -> NDArray[np.float64]:
        above, below = sums[..., numerator], sums[..., denominator]
        found: NDArray[np.float64] = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
        return found

    return statistic


def _weights(items: int, seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each item was drawn, [some resamples, items], until there are enough."""
    random = np.random.default_rng(seed)
    rows = max(1, _BLOCK // items)
    for done in range(0, resamples, rows):
        shape = min(rows, resamples - done), items
        places = random.integers(0, items, shape) + items * np.arange(shape[0])[:, None]
        yield np.bincount(places.ravel(), minlength=shape[0] * items).reshape(shape).astype(np.float64)
