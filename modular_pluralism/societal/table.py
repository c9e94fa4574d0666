"""The table of an assembly: how well each candidate answer serves each member, from their ballots."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from modular_pluralism.errors import InputError
from modular_pluralism.types import Ballot

Floats: TypeAlias = npt.NDArray[np.float64]

Normalise = Literal["none", "range", "rank"]
"""What is done to each member's scores before a choice: nothing; its worst becomes 0 and its best 1; or only its order
is kept, in equal steps from 0 to 1."""

_SAME = 12
"""Scores are told apart by so many decimals, so that rounding breaks no tie."""


@dataclass(frozen=True)
class Table:
    """How well candidates serve members: `scores` [n_members, n_candidates] from 0 to 1, NaN where a member gave none.

    `weights` [n_members] are not negative, in any unit. The order of the candidates decides what is level otherwise.

    Raises:
        InputError: a name is there twice, there is no member or no candidate, the numbers are of another shape or
            cannot be, a member has judged nothing, or nobody has a weight.
    """

    members: tuple[str, ...]
    candidates: tuple[str, ...]
    scores: Floats
    weights: Floats

    def __post_init__(self) -> None:
        for what, names in (("member", self.members), ("candidate", self.candidates)):
            twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
            if twice is not None:
                raise InputError(f"The {what} {twice!r} is in the table twice; give each a name of its own.")
        if not self.members or not self.candidates:
            raise InputError("Nobody has judged a candidate; nothing can be chosen without a ballot.")
        shape = (len(self.members), len(self.candidates))
        if self.scores.shape != shape or self.weights.shape != shape[:1]:
            raise InputError(
                f"A table of {shape[0]} members and {shape[1]} candidates has scores {list(self.scores.shape)} and "
                f"weights {list(self.weights.shape)}; give {list(shape)} and {list(shape[:1])}."
            )
        for name, row, weight in zip(self.members, self.scores, self.weights, strict=True):
            _check_member(name, row, float(weight))
        if not self.weights.any():
            raise InputError("No member that gave a ballot has a weight above 0; give one of them a weight.")

    def normalised(self, normalise: Normalise) -> Table:
        """The table with each member's scores normalised; of a member, only those that it gave count.

        A member whose scores are all equal, or that gave only one, has 0.5 for each of them then.
        """
        change = NORMALISERS[normalise]
        return self if change is None else replace(self, scores=np.stack([_given(row, change) for row in self.scores]))

    def filled(self) -> Floats:
        """The scores [n_members, n_candidates] without a gap: where a member gave none, the mean of those it gave.

        A candidate that a member has not judged is so neither favoured nor held back by it.
        """
        gaps = np.isnan(self.scores)
        means: Floats = np.nanmean(self.scores, axis=1, keepdims=True, dtype=np.float64)
        filled: Floats = np.where(gaps, means, self.scores)
        return filled.round(_SAME)

    def without(self, place: int) -> Table:
        """The table with the weight of the member at this place taken away.

        Raises:
            InputError: no other member has a weight.
        """
        weights = self.weights.copy()
        weights[place] = 0
        return replace(self, weights=weights)


def table_of(
    ballots: Iterable[Ballot],
    *,
    candidates: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Table:
    """The table of the ballots on candidates; ballots on rules are passed over.

    Args:
        ballots: Of any members; those who judged no candidate are not in the table.
        candidates: In the order that decides what is level; None for the order in which they are first judged.
        weights: By member; one that is not named counts 1, and names of members without a ballot are passed over.

    Raises:
        InputError: a member judges a candidate twice, or one that there is not, or gives a score that is none from 0
            to 1; or what a Table says.
    """
    judged = [ballot for ballot in ballots if ballot["rule"] is None]
    names = tuple(dict.fromkeys(ballot["candidate"] for ballot in judged)) if candidates is None else tuple(candidates)
    members = tuple(dict.fromkeys(ballot["member"] for ballot in judged))
    rows = {name: at for at, name in enumerate(members)}
    columns = {name: at for at, name in enumerate(names)}
    scores = np.full((len(members), len(names)), np.nan)
    for ballot in judged:
        member, candidate, score = ballot["member"], ballot["candidate"], ballot["score"]
        if candidate not in columns:
            raise InputError(f"{member} has judged {candidate!r}; the candidates are {', '.join(names)}.")
        if score is None or not 0 <= score <= 1:
            raise InputError(f"{member} gives {candidate!r} the score {score}; give a number from 0 to 1.")
        at = rows[member], columns[candidate]
        if not np.isnan(scores[at]):
            raise InputError(f"{member} has judged {candidate!r} twice; keep one of the two ballots.")
        scores[at] = score
    given = weights or {}
    return Table(members, names, scores, np.array([float(given.get(name, 1.0)) for name in members]))


def _check_member(name: str, row: Floats, weight: float) -> None:
    given = row[~np.isnan(row)]
    if not given.size:
        raise InputError(f"{name} has judged no candidate; leave it out of the table, or give it a ballot.")
    if not ((given >= 0) & (given <= 1)).all():
        raise InputError(f"{name} has a score of {given[(given < 0) | (given > 1)][0]:g}; give numbers from 0 to 1.")
    if not 0 <= weight < np.inf:
        raise InputError(f"{name} has the weight {weight:g}; give a number from 0 on.")


def _given(row: Floats, change: Callable[[Floats], Floats]) -> Floats:
    """The row with those scores changed that are there."""
    there = ~np.isnan(row)
    changed = row.copy()
    changed[there] = change(row[there])
    return changed


def _range(scores: Floats) -> Floats:
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.full_like(scores, 0.5)


def _rank(scores: Floats) -> Floats:
    """Of each, how many are below it, an equal one counting half, as a share of all others."""
    if len(scores) == 1:
        return np.array([0.5])
    rounded = np.round(scores, _SAME)
    below = (rounded[:, None] > rounded).sum(axis=1) + ((rounded[:, None] == rounded).sum(axis=1) - 1) / 2
    ranks: Floats = below / (len(scores) - 1)
    return ranks


NORMALISERS: Mapping[Normalise, Callable[[Floats], Floats] | None] = {"none": None, "range": _range, "rank": _rank}
"""How a member's scores are normalised, by name; None leaves them as they are."""
