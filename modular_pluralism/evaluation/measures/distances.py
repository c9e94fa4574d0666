"""How far a predicted option distribution is from the real one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from modular_pluralism.option_math import most_likely
from modular_pluralism.optional import optional

FARTHEST = math.sqrt(math.log(2))
"""The JS distance of two distributions that have no option in common."""


def js_distance(gold: Sequence[float], predicted: Sequence[float]) -> float:
    """Square root of the Jensen-Shannon divergence, base e: 0 where equal, FARTHEST at most (section 4).

    Both [n_options]; scipy computes it, and divides each by its sum. A share that is too small for a float to be halved
    exactly counts as none: half of the smallest is 0, and would put the other distribution infinitely far away.
    """
    real, said = (np.where(np.asarray(shares) < np.finfo(float).tiny, 0.0, shares) for shares in (gold, predicted))
    with np.errstate(invalid="ignore"):
        distance = float(_scipy_distance().jensenshannon(real, said))
    return 0.0 if math.isnan(distance) else distance  # the root of a rounding error below zero


def most_likely_agrees(gold: Sequence[float], predicted: Sequence[float]) -> bool:
    """Whether both have the same most likely option; of equally likely ones the first one counts, as in the paper's
    release."""
    return most_likely(gold) == most_likely(predicted)


def agrees_with_any_mode(gold: Sequence[float], predicted: Sequence[float]) -> bool:
    """Whether the most likely option is one of the really most likely ones: where these are several, each is right."""
    return gold[most_likely(predicted)] == max(gold)


def has_tied_modes(gold: Sequence[float]) -> bool:
    """Whether several options are the most likely one."""
    return list(gold).count(max(gold)) > 1


@cache
def _scipy_distance() -> Any:
    return optional("scipy.spatial.distance", "eval", "The JS distance")
