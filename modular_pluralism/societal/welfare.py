"""Rules that add up or compare how well candidates serve the members (after section 4.2 of Stańczak et al.).

Scores are [n_members, n_candidates] without a gap; weights are [n_weightings, n_members] and sum to 1 in each row, so
that a rule looks at many weightings of the same ballots at once.
"""

from __future__ import annotations

import numpy as np

from modular_pluralism.societal.places import Places, places_by
from modular_pluralism.societal.table import Floats


def utilities(scores: Floats) -> tuple[Floats, ...]:
    """What the utilitarian rule sums: the scores themselves."""
    return (scores,)


def log_utilities(scores: Floats) -> tuple[Floats, ...]:
    """What Nash's rule sums: whether a member is served at all, and the logarithm of the score where it is.

    A product is 0 as soon as one member has 0. Where that is so of every candidate, the product alone would say
    nothing, so that first the weight of those who have more than 0 counts, and then the product of theirs (Caragiannis
    et al., The Unreasonable Fairness of Maximum Nash Welfare, 2019).
    """
    served = scores > 0
    return served.astype(np.float64), np.log(scores, out=np.zeros_like(scores), where=served)


def maximin(scores: Floats, weights: Floats) -> Places:
    """By the score of whoever is worst off, among those with a weight."""
    counted = weights[:, :, None] > 0
    return places_by([np.where(counted, scores, np.inf).min(axis=1)])


def leximin(scores: Floats, weights: Floats) -> Places:
    """By the worst off; of equal ones, by how little weight is as badly off, then by the next worst off, and so on.

    A member of the weight 2 is as two of the weight 1 with its scores.
    """
    distinct, same = np.unique(scores, axis=1, return_inverse=True)
    places = np.zeros((len(weights), distinct.shape[1]), dtype=np.int64)
    level = np.full(places.shape, -np.inf)
    still = np.arange(len(weights))  # the weightings under which some candidates are level so far
    while still.size:
        level[still], weight = _next_level(distinct.T, weights[still], level[still])
        places[still] = places_by([-places[still].astype(np.float64), level[still], -weight])
        open_yet = (places[still].max(axis=1) < distinct.shape[1] - 1) & np.isfinite(level[still]).any(axis=1)
        still = still[open_yet]
    return places[:, same.reshape(-1)]


def _next_level(scores: Floats, weights: Floats, level: Floats) -> tuple[Floats, Floats]:
    """The lowest score above the level [n_weightings, n_candidates], and the weight of those who have it.

    `scores` are [n_candidates, n_members] here. Infinite where nobody with a weight has more.
    """
    above = (weights[:, None, :] > 0) & (scores > level[:, :, None])
    found = np.where(above, scores, np.inf).min(axis=2)
    at_it = scores == found[:, :, None]
    return found, (at_it * weights[:, None, :]).sum(axis=2)
