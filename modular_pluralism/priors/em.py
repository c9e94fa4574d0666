"""The weights of a linear pool by maximum likelihood: expectation maximisation for the shares of a mixture.

The communities' distributions are fixed, so the likelihood is concave in their weights, and the algorithm (Dempster,
Laird and Rubin 1977) comes to its maximum from any weights above 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]

FLOOR = 1e-9
"""An option that a model gives less than this share counts as having so much: an endpoint that does not report an
improbable option would otherwise make the likelihood of a whole file 0."""

TOLERANCE = 1e-6
_MOST_STEPS = 50_000


@dataclass(frozen=True)
class AnsweredItem:
    """One item: `read` [n_communities, n_options] are the communities' distributions, and `gold` [n_options] the real
    one. Each sums to 1."""

    read: Floats
    gold: Floats


@dataclass(frozen=True)
class Fitted:
    """`weights` [n_communities] sum to 1. `log_likelihood` is the mean over the items, in nats, and no weights have one
    that is better by more than `gap`."""

    weights: Floats
    log_likelihood: float
    gap: float


def fit_weights(items: Sequence[AnsweredItem], *, tolerance: float = TOLERANCE) -> Fitted:
    """The weights of the linear pool under which the real distributions are the most likely.

    Each item counts the same, however many people were asked. It stops at a gap of `tolerance` nats, or after 50,000
    steps, with the gap that is left.

    Raises:
        ValueError: there are no items.
    """
    if not items:
        raise ValueError("there are no items to fit weights on")
    read = np.concatenate([item.read.T for item in items])  # [n_cells, n_communities]
    gold = np.concatenate([item.gold for item in items]) / len(items)
    read, gold = np.maximum(read[gold > 0], FLOOR), gold[gold > 0]
    mass = float(gold.sum())
    weights = np.full(read.shape[1], 1 / read.shape[1])
    for _ in range(_MOST_STEPS):
        gains = read.T @ (gold / (read @ weights))  # the derivative of the likelihood for each weight
        # Since the likelihood is concave, no weights that sum to 1 can gain more than this.
        gap = max(0.0, float(gains.max()) - mass)
        if gap <= tolerance:
            break
        weights = weights * gains
        weights /= weights.sum()
    return Fitted(weights, float(gold @ np.log(read @ weights)), gap)


def log_likelihood(item: AnsweredItem, weights: Floats) -> float:
    """Of one item's real distribution under the pool with these weights, in nats: 0 at most, and minus the item's own
    entropy where the pool is the real distribution. The floor is each community's own, as in `fit_weights`."""
    return float(item.gold @ np.log(weights @ np.maximum(item.read, FLOOR)))
