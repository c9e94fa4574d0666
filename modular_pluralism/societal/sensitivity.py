"""What a choice hangs on: single members, their weights, and whether they say what they think."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from modular_pluralism.societal.choice import ChoiceRule, ComparedRule, SummedRule
from modular_pluralism.societal.places import DIGITS
from modular_pluralism.societal.table import Floats, Normalise, Table

MOST_CANDIDATES = 5
"""Of more candidates, false ballots are not tried."""

SEARCHED_TO = 1e-6
"""How near to the smallest change a searched one is, as a share of all weight."""

_STEPS = 16
_BLOCK = 256


@dataclass(frozen=True)
class Pivotal:
    """A member without whose ballots `winner` would be chosen; None where nobody would be left to choose."""

    member: str
    winner: str | None


@dataclass(frozen=True)
class Flip:
    """The smallest change of one member's weight that makes another candidate the winner.

    At the weight `to`, or just beyond it where a tie goes to the present winner, `winner` is chosen. `precision` is 0
    where that is exact; else the search has stopped that near, and steps over a change that holds only in between.
    """

    member: str
    weight: float
    to: float
    winner: str
    precision: float


@dataclass(frozen=True)
class Gain:
    """That a member, alone, could bring about a winner it prefers by a false `ballot` [n_candidates]; `gain` is how
    much more that serves it, by its own scores."""

    member: str
    ballot: tuple[float, ...]
    winner: str
    gain: float


def pivotal(table: Table, rule: ChoiceRule, normalise: Normalise = "none") -> list[Pivotal]:
    """The members whose absence would change the winner, each left out alone."""
    scores = table.normalised(normalise).filled()
    winner = _winner(rule, scores, table.weights)
    found = []
    for at, without in _without_each(rule, scores, table.weights):
        if without != winner:
            found.append(Pivotal(table.members[at], None if without is None else table.candidates[without]))
    return found


def smallest_flip(
    table: Table, rule: ChoiceRule, normalise: Normalise = "none", *, farthest: float = 2.0
) -> Flip | None:
    """The smallest change of one member's weight that changes the winner; None where no weight of one member does.

    Exact for rules that sum. For others weights from 0 up to `farthest` times what all others weigh are tried in steps,
    and the first that changes the winner is bisected.
    """
    scores = table.normalised(normalise).filled()
    if isinstance(rule, SummedRule):
        return _summed_flip(table, rule, scores)
    if isinstance(rule, ComparedRule) and rule.only_whether:
        return _flip_by_whether(table, rule, scores)
    return _searched_flip(table, rule, scores, farthest)


def could_gain(table: Table, rule: ChoiceRule, normalise: Normalise = "none") -> list[Gain] | None:
    """The members that could gain by a false ballot if all others keep theirs, each with the ballot that gains most.

    Of rules that look at orders every strict order is tried, of others every ballot of zeros and ones. None where there
    are more than MOST_CANDIDATES candidates.
    """
    count = len(table.candidates)
    if count > MOST_CANDIDATES:
        return None
    ballots = _false_ballots(rule, count)
    tried = Table(tuple(map(str, range(len(ballots)))), table.candidates, ballots, np.ones(len(ballots)))
    true = table.filled()
    # The false ballots are further members, to whom the weight of the one that gives them goes.
    scores = np.concatenate([table.normalised(normalise).filled(), tried.normalised(normalise).filled()])
    winner = _winner(rule, scores[: len(true)], table.weights)
    found = []
    for at in np.flatnonzero(table.weights):
        weights = np.zeros((len(ballots), len(scores)))
        weights[:, : len(true)] = table.weights
        weights[:, at] = 0
        np.fill_diagonal(weights[:, len(true) :], table.weights[at])
        winners = rule.winners(scores, weights)
        gains = np.round(true[at, winners] - true[at, winner], DIGITS)
        best = int(gains.argmax())
        if gains[best] > 0:
            ballot = tuple(ballots[best].tolist())
            found.append(Gain(table.members[at], ballot, table.candidates[winners[best]], float(gains[best])))
    return found


def _false_ballots(rule: ChoiceRule, count: int) -> Floats:
    """[n_ballots, n_candidates], from 0 to 1."""
    if rule.assumes == "nothing":
        return np.array(list(permutations(range(count))), dtype=np.float64) / max(1, count - 1)
    return np.array(list(product((0.0, 1.0), repeat=count)))


def _winner(rule: ChoiceRule, scores: Floats, weights: Floats) -> int:
    return int(rule.winners(scores, weights[None, :])[0])


def _without_each(rule: ChoiceRule, scores: Floats, weights: Floats) -> Iterator[tuple[int, int | None]]:
    """The place of every member with a weight, and the winner without it; None where nobody else has a weight."""
    counted = np.flatnonzero(weights)
    if len(counted) == 1:
        yield int(counted[0]), None
        return
    for begin in range(0, len(counted), _BLOCK):
        places = counted[begin : begin + _BLOCK]
        left = np.tile(weights, (len(places), 1))
        left[np.arange(len(places)), places] = 0
        yield from zip(places.tolist(), rule.winners(scores, left).tolist(), strict=True)


def _summed_flip(table: Table, rule: SummedRule, scores: Floats) -> Flip | None:
    """Each key is linear in a weight, so that the weight at which another candidate draws level is a quotient."""
    weights = table.weights
    winner = _winner(rule, scores, weights)
    best: tuple[float, float, int, int] | None = None
    change, speed = _changes(rule, scores, weights, winner)
    to = weights[:, None] + change
    none = abs(to) < 10.0**-DIGITS * weights.sum()
    # A weight cannot go below 0, so that at 0 the tie itself has to go to the other candidate.
    without = dict(_without_each(rule, scores, weights))
    for at, other in zip(*np.nonzero(np.isfinite(change) & ((to > 0) | none)), strict=True):
        if none[at, other] and change[at, other] <= 0 and without.get(int(at)) != other:
            continue
        found = (abs(float(change[at, other])), -abs(float(speed[at, other])), int(at), int(other))
        best = found if best is None or found < best else best
    if best is None:
        return None
    _, _, at, other = best
    return Flip(
        table.members[at],
        float(weights[at]),
        0.0 if none[at, other] else float(to[at, other]),
        table.candidates[other],
        0.0,
    )


def _changes(rule: SummedRule, scores: Floats, weights: Floats, winner: int) -> tuple[Floats, Floats]:
    """By how much each member's weight has to change for each candidate to draw level with the winner, infinite where
    none does so, and how fast it draws near: both [n_members, n_candidates].

    The first key in which the two differ, or in which the member tells them apart, decides.
    """
    change = np.full(scores.shape, np.inf)
    speed = np.zeros_like(scores)
    undecided = np.ones(scores.shape, dtype=bool)
    undecided[:, winner] = False
    for part in rule.parts(scores):
        sums = weights @ part
        ahead = np.broadcast_to(sums[winner] - sums, scores.shape).copy()
        ahead[abs(ahead) < 10.0**-DIGITS * weights.sum()] = 0
        towards = part - part[:, [winner]]
        here = undecided & (towards != 0)
        change[here] = ahead[here] / towards[here]
        speed[here] = towards[here]
        undecided &= (ahead == 0) & (towards == 0)
    return change, speed


def _flip_by_whether(table: Table, rule: ChoiceRule, scores: Floats) -> Flip | None:
    """A member that counts can be left out, and one that does not, counted with any weight at all."""
    winner = _winner(rule, scores, table.weights)
    silent = np.flatnonzero(table.weights == 0)
    heard = _winners_at(rule, scores, table.weights, silent, np.ones(len(silent)))
    changed = [*_without_each(rule, scores, table.weights), *zip(silent.tolist(), heard.tolist(), strict=True)]
    flips = [
        Flip(table.members[at], float(table.weights[at]), 0.0, table.candidates[other], 0.0)
        for at, other in changed
        if other is not None and other != winner
    ]
    return min(flips, key=lambda flip: flip.weight, default=None)


def _searched_flip(table: Table, rule: ChoiceRule, scores: Floats, farthest: float) -> Flip | None:
    weights, precision = table.weights, SEARCHED_TO * float(table.weights.sum())
    winner = _winner(rule, scores, weights)
    brackets = [
        (at, *bracket)
        for at in range(len(weights))
        for bracket in _brackets(rule, scores, weights, at, winner, farthest)
    ]
    best: tuple[int, float] | None = None
    for at, keeps, flips in sorted(brackets, key=lambda each: abs(each[2] - weights[each[0]])):
        if best is not None:
            # What does not flip the winner sooner than what was found need not be bisected.
            sooner = abs(best[1] - weights[best[0]]) - precision
            end = weights[at] + np.sign(flips - weights[at]) * min(sooner, abs(flips - weights[at]))
            if sooner <= abs(keeps - weights[at]) or _at(rule, scores, weights, at, end) == winner:
                continue
            flips = end
        while abs(flips - keeps) > precision:
            middle = (keeps + flips) / 2
            if _at(rule, scores, weights, at, middle) == winner:
                keeps = middle
            else:
                flips = middle
        best = at, float(flips)
    if best is None:
        return None
    at, to = best
    other = table.candidates[_at(rule, scores, weights, at, to)]
    return Flip(table.members[at], float(weights[at]), to, other, precision)


def _at(rule: ChoiceRule, scores: Floats, weights: Floats, place: int, to: float) -> int:
    return int(_winners_at(rule, scores, weights, np.array([place]), np.array([to]))[0])


def _brackets(
    rule: ChoiceRule, scores: Floats, weights: Floats, at: int, winner: int, farthest: float
) -> Iterator[tuple[float, float]]:
    """Below and above a member's weight, the last weight of the steps that keeps the winner and the first that flips
    it, where one does."""
    weight, others = float(weights[at]), float(weights.sum() - weights[at])
    if others <= 0:
        return
    down: Floats = weight * (1 - np.arange(1, _STEPS + 1) / _STEPS)
    up: Floats = weight + farthest * others * (np.exp2(np.arange(1.0, _STEPS + 1)) - 1) / (2.0**_STEPS - 1)
    for steps in (down, up) if weight > 0 else (up,):
        changed = _winners_at(rule, scores, weights, np.full(_STEPS, at), steps) != winner
        if changed.any():
            first = int(changed.argmax())
            yield (float(steps[first - 1]) if first else weight), float(steps[first])


def _winners_at(
    rule: ChoiceRule, scores: Floats, weights: Floats, places: npt.NDArray[np.int64], to: Floats
) -> npt.NDArray[np.int64]:
    """The winners where the weight of the member at `places[i]` is `to[i]`."""
    changed = np.tile(weights, (len(places), 1))
    changed[np.arange(len(places)), places] = to
    return rule.winners(scores, changed)
