"""A slate of several candidates in which every part of the weight has one that it likes (Fish et al., Generative
Social Choice, 2024)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from modular_pluralism.errors import InputError
from modular_pluralism.societal.places import DIGITS, Places, places_by
from modular_pluralism.societal.table import Floats, Table

SLATE = 3
"""How many candidates a slate has where nobody says otherwise."""


@dataclass(frozen=True)
class Claim:
    """That members with at least 1/k of the weight, `share` of it, all prefer a candidate to every one of the slate."""

    candidate: str
    members: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Slate:
    """The chosen candidates, in the order of their choice, the members each was chosen for, and what is left unmet.

    A member whose weight is used up by no single candidate is among those of several.
    """

    candidates: tuple[str, ...]
    served: tuple[tuple[str, ...], ...]
    unmet: tuple[Claim, ...]


def slate_of(table: Table, size: int) -> Slate:
    """The greedy proportional slate of `size` candidates, k.

    k times, the candidate is taken that 1/k of the weight, out of what is left, likes the most: whose least score among
    the 1/k that like it best is the largest. Their weight is then used up; of a member at the border, only a part is.
    It compares scores of different members, so that these need common levels.

    Raises:
        InputError: the size is below 1, or there are fewer candidates.
    """
    count = len(table.candidates)
    if not 1 <= size <= count:
        raise InputError(f"A slate of {size} cannot be made of {count} candidates; give a number from 1 to {count}.")
    scores = table.filled()
    left = table.weights / table.weights.sum()
    chosen: list[int] = []
    served = []
    for _ in range(size):
        reached = _level(scores, left[None, :], size)[0]
        reached[chosen] = -np.inf
        best = int(reached.argmax())
        taken = _taken(scores[:, best], left, 1 / size)
        left = np.where(np.isclose(taken, left, rtol=0, atol=10.0**-DIGITS), 0.0, left - taken)
        chosen.append(best)
        served.append(tuple(table.members[at] for at in np.flatnonzero(taken)))
    return Slate(tuple(table.candidates[at] for at in chosen), tuple(served), _claims(table, scores, chosen))


def first_of_slate(size: int, scores: Floats, weights: Floats) -> Places:
    """By what the candidate that a slate of this size begins with has to have: the score that 1/size of the weight, or
    more, gives it at least. Shapes are as in `welfare`."""
    return places_by([_level(scores, weights, size)])


def _level(scores: Floats, weights: Floats, size: int) -> Floats:
    """[n_weightings, n_candidates]: the largest score that 1/size, or what is left where that is less, gives it."""
    order = np.argsort(-scores, axis=0, kind="stable")
    sorted_scores = np.take_along_axis(scores, order, axis=0)
    carried = weights[:, order].cumsum(axis=1)  # [n_weightings, n_members, n_candidates]
    quota = np.minimum(1 / size, carried[:, -1:, :])
    first = (carried >= quota - 10.0**-DIGITS).argmax(axis=1)
    level: Floats = np.take_along_axis(sorted_scores, first, axis=0)
    return level


def _taken(scores: Floats, left: Floats, quota: float) -> Floats:
    """Of each member's weight that is left, what the candidate with these scores uses up; those who like it best first,
    and of equal ones all alike."""
    taken = np.zeros_like(left)
    for level in np.unique(scores)[::-1]:
        if quota <= 10.0**-DIGITS:
            break
        here = np.where(scores == level, left, 0.0)
        part = min(1.0, quota / here.sum()) if here.any() else 0.0
        taken += part * here
        quota -= part * here.sum()
    return taken


def _claims(table: Table, scores: Floats, chosen: list[int]) -> tuple[Claim, ...]:
    shares = table.weights / table.weights.sum()
    prefers = (scores > scores[:, chosen].max(axis=1, keepdims=True)) & (shares > 0)[:, None]
    claims = []
    for at, name in enumerate(table.candidates):
        share = float(shares[prefers[:, at]].sum())
        if share >= 1 / len(chosen) - 10.0**-DIGITS:
            claims.append(Claim(name, tuple(np.array(table.members)[prefers[:, at]].tolist()), share))
    return tuple(sorted(claims, key=lambda claim: -claim.share))
