"""Percentile bootstrap intervals of any statistic of sums over items, all from the same resampled clusters of items.

Items that ask the same question, of another country or about another value, are no independent evidence: a model says
nearly the same to all of them. So it is the questions that are drawn again, each with all of its items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.evaluation.statistics.results import Figure

RESAMPLES = 2000
LEVEL = 0.95
CLEAR_FROM = 20
"""Over fewer clusters no difference is called clear: with so few, a percentile interval is too narrow."""

Sums: TypeAlias = NDArray[np.float64]
"""[..., n_features]: what the features of the items sum to."""

Statistic: TypeAlias = Callable[[Sums], NDArray[np.float64]]
"""[..., n_features] to [...]; NaN where it has no value."""

_BLOCK = 1_000_000  # numbers that are drawn at once: 8 MB for each of three arrays


class Bootstrap:
    """Clusters of items drawn again with replacement, as many as there are, RESAMPLES times.

    `features` [n_items, n_features] are finite; `clusters` [n_items] numbers the cluster of each item, None where each
    is its own. Every figure is computed from the same draws, so that figures of two methods can be compared, and their
    difference is one of pairs. Memory beside the features does not grow with the items, beyond one row of them and the
    sums of the clusters.
    """

    def __init__(
        self,
        features: NDArray[np.float64],
        *,
        seed: int,
        resamples: int = RESAMPLES,
        clusters: NDArray[np.int64] | None = None,
    ) -> None:
        self._total: Sums = np.array([math.fsum(column) for column in features.T])
        self._summed = features if clusters is None else _by_cluster(features, clusters)
        self.clusters = len(self._summed)
        self._resampled: Sums | None = None
        if self.clusters > 1:  # one cluster has nothing to draw from
            self._resampled = np.concatenate(
                [weights @ self._summed for weights in _weights(self.clusters, seed, resamples)], axis=0
            )

    def clusters_with(self, features: slice) -> int:
        """How many clusters have anything in some of the features."""
        return int(np.count_nonzero(self._summed[:, features].any(axis=1)))

    def figure(
        self,
        statistic: Statistic,
        *,
        n: int,
        difference: bool = False,
        share: bool = False,
        clusters: int | None = None,
    ) -> Figure:
        """The statistic of all items, with its interval: the 2.5 and 97.5 percentiles over the resamples.

        `n` is how many items it is over and `clusters` how many clusters these are in, None where each item is its own;
        one cluster has no interval. `difference` says that it is clear where the interval excludes zero and there are
        CLEAR_FROM clusters. `share` says that it is a share of items, or a difference of two: where all resamples of it
        are 0 or all are 1, it has a Wilson interval. Resamples in which the statistic has no value are left out.
        """
        value = float(statistic(self._total))
        if not np.isfinite(value):
            return Figure(value=None, n=n)
        clusters = min(n, self.clusters) if clusters is None else clusters
        if self._resampled is None or clusters < 2:
            return Figure(value=value, n=n)
        drawn = statistic(self._resampled)
        drawn = drawn[np.isfinite(drawn)]
        if not len(drawn):
            return Figure(value=value, n=n)
        low, high = (float(end) for end in np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
        if share and low == high == value and abs(value) in (0, 1):
            low, high = _wilson(value, clusters, difference)
        clear = difference and clusters >= CLEAR_FROM and (low > 0 or high < 0)
        return Figure(value=value, low=low, high=high, n=n, clear=clear)


@dataclass(frozen=True)
class Draw:
    """What is drawn, and how, for all figures of an evaluation; `clusters` [n_items] is None for single items."""

    seed: int
    resamples: int = RESAMPLES
    clusters: NDArray[np.int64] | None = None

    def of(self, features: NDArray[np.float64], only: NDArray[np.bool_] | None = None) -> Bootstrap:
        """The resampled `features` [n_items, n_features], or [n_chosen, n_features] of those items of `only`."""
        clusters = self.clusters if self.clusters is None or only is None else self.clusters[only]
        return Bootstrap(features, seed=self.seed, resamples=self.resamples, clusters=clusters)


def ratio(numerator: int, denominator: int) -> Statistic:
    """The statistic that divides one feature's sum by another's, such as a mean: NaN where there is nothing."""

    def statistic(sums: Sums) -> NDArray[np.float64]:
        above, below = sums[..., numerator], sums[..., denominator]
        quotient: NDArray[np.float64] = np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below != 0)
        return quotient

    return statistic


def _wilson(value: float, clusters: int, difference: bool) -> tuple[float, float]:
    """The interval of a share that is 0 or 1 in all clusters, or of a difference of shares that is 0, 1 or -1 in all.

    That none of so many clusters is otherwise does not say that none would be; resampling cannot know that. It is
    Wilson's score interval (1927), with the clusters as the trials. A cluster that is otherwise moves a difference of 1
    by up to 2, and one of 0 by 1 either way.
    """
    squared = NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2
    reach = squared / (clusters + squared)
    if not difference:
        return (0.0, reach) if value == 0 else (1 - reach, 1.0)
    if value == 0:
        return -reach, reach
    return (1 - 2 * reach, 1.0) if value > 0 else (-1.0, 2 * reach - 1)


def _by_cluster(features: NDArray[np.float64], clusters: NDArray[np.int64]) -> NDArray[np.float64]:
    """The features summed over the items of each cluster, [n_clusters, n_features]."""
    numbers, places = np.unique(clusters, return_inverse=True)
    summed = np.empty((len(numbers), features.shape[1]))
    for place, column in enumerate(features.T):
        summed[:, place] = np.bincount(places, weights=column, minlength=len(numbers))
    return summed


def _weights(clusters: int, seed: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each cluster was drawn, [some resamples, clusters], until there are enough."""
    random = np.random.default_rng(seed)
    rows = max(1, _BLOCK // clusters)
    for done in range(0, resamples, rows):
        shape = min(rows, resamples - done), clusters
        places = random.integers(0, clusters, shape) + clusters * np.arange(shape[0])[:, None]
        yield np.bincount(places.ravel(), minlength=shape[0] * clusters).reshape(shape).astype(np.float64)
