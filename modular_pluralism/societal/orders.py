"""Rules that look only at each member's order of the candidates, and assume nothing of its numbers.

Shapes are as in `welfare`.
"""

from __future__ import annotations

import numpy as np

from modular_pluralism.societal.places import DIGITS, Places, places_by, sums
from modular_pluralism.societal.table import Floats


def points(scores: Floats) -> tuple[Floats, ...]:
    """What Borda's rule sums: of how many candidates a member prefers this one to, an equal one counting half, as a
    share of all others."""
    others = scores.shape[1] - 1
    if not others:
        return (np.zeros_like(scores),)
    above = _preferred(scores).sum(axis=2)
    below = _preferred(scores).sum(axis=1)
    return ((above - below + others) / (2 * others),)


def schulze(scores: Floats, weights: Floats) -> Places:
    """By the strongest paths of pairwise majorities (Schulze, 2011), whose strength is the weight of the winning votes.

    A candidate that wins against every other in pairs comes first. The others' places are by how many have a stronger
    path to them than they have back.
    """
    members, count = scores.shape
    summed = np.round(sums(weights, _preferred(scores).reshape(members, -1)), DIGITS)
    votes = np.ascontiguousarray(summed.T).reshape(count, count, -1)  # the weightings last: numpy is fastest along many
    paths = np.where(votes > votes.transpose(1, 0, 2), votes, 0.0)
    for between in range(count):
        np.maximum(paths, np.minimum(paths[:, between, None], paths[None, between]), out=paths)
    stronger = paths.transpose(1, 0, 2) > paths
    return places_by([-stronger.sum(axis=1).T.astype(np.float64)])


def _preferred(scores: Floats) -> Floats:
    """[n_members, n_candidates, n_candidates]: 1 where a member prefers the former to the latter."""
    preferred: Floats = (scores[:, :, None] > scores[:, None, :]).astype(np.float64)
    return preferred
