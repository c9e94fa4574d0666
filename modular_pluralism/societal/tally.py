"""The account of a choice: who wins under which rule, whom that serves, and what it hangs on."""

from __future__ import annotations

import numpy as np
from typing_extensions import TypedDict  # of `typing`'s, pydantic makes no schema before Python 3.12

from modular_pluralism.errors import InputError
from modular_pluralism.societal.choice import ChoiceName, choice_rules
from modular_pluralism.societal.sensitivity import could_gain, pivotal, smallest_flip
from modular_pluralism.societal.slate import SLATE, slate_of
from modular_pluralism.societal.table import NORMALISERS, Floats, Normalise, Table


class WorstOff(TypedDict):
    """The member with a weight whom the winner serves least, the first of equal ones, and its score of it."""

    member: str
    score: float


class PivotalMember(TypedDict):
    """A member without whose ballots `winner` would be chosen; None where nobody would be left to choose."""

    member: str
    winner: str | None


class SmallestFlip(TypedDict):
    """The smallest change of one member's weight that makes another candidate the `winner`: from `weight` to `to`, or
    just beyond it where a tie goes to the present winner. `precision` is 0 where `to` is exact, else how near it is to
    the weight at which that happens."""

    member: str
    weight: float
    to: float
    winner: str
    precision: float


class FalseBallot(TypedDict):
    """That a member alone could bring about the `winner` by this false `ballot`, scores by candidate; `gain` is how
    much higher it scores that than the present winner."""

    member: str
    ballot: dict[str, float]
    winner: str
    gain: float


class UnmetClaim(TypedDict):
    """Members with at least 1/k of the weight, `share` of it, who all prefer `candidate` to every one of the slate."""

    candidate: str
    members: list[str]
    share: float


class SlateTally(TypedDict):
    """The greedy proportional slate: its candidates in the order of their choice, the members that each was chosen for,
    and the claims that it leaves unmet."""

    candidates: list[str]
    served: dict[str, list[str]]
    unmet: list[UnmetClaim]


class Tally(TypedDict):
    """What has come of a table of ballots.

    `scores` [n_members, n_candidates] are as they were given, None where there is none; `used` are those after
    normalising, with the member's mean in the place of a missing one. `tied` are the candidates that the rule leaves
    level with the winner, itself among them, where there are several: the first of `candidates` has won then.
    `winners` is who wins under every rule, and `ranking` all candidates under this one, the best first. `pareto` are
    the candidates than which no other is better for one member and worse for none.

    `gini` (0 to 1), `worst_off` and `price_of_fairness` are of the scores `used`: the last is by what share the mean
    score of the winner is below the largest one. `could_gain` is None where there are more than five candidates.
    """

    rule: ChoiceName
    normalise: Normalise
    members: list[str]
    candidates: list[str]
    weights: list[float]
    scores: list[list[float | None]]
    used: list[list[float]]
    winner: str
    tied: list[str]
    winners: dict[ChoiceName, str]
    ranking: list[str]
    pareto: list[str]
    gini: float
    worst_off: WorstOff
    price_of_fairness: float
    pivotal: list[PivotalMember]
    flip: SmallestFlip | None
    could_gain: list[FalseBallot] | None
    slate: SlateTally


def tally(table: Table, rule: ChoiceName = "nash", normalise: Normalise = "none", slate: int | None = None) -> Tally:
    """Choose a candidate, and say what that rests on (after section 4.2 of Stańczak et al.).

    Members whose weight is 0 are shown and count for nothing. Of one candidate, everything is told of that one.

    Args:
        table: Members by candidates.
        rule: By which the winner is chosen; see `choice_rules`.
        normalise: What is done to each member's scores first.
        slate: How many candidates the slate has; None for three, or for all where there are fewer.

    Raises:
        InputError: there is no such rule or normalising, or no slate of that size.
    """
    size = min(SLATE, len(table.candidates)) if slate is None else slate
    rules = choice_rules(size)
    if rule not in rules:
        raise InputError(f"{rule!r} is no rule to choose by; give one of {', '.join(rules)}.")
    if normalise not in NORMALISERS:
        raise InputError(f"{normalise!r} is no way to normalise; give one of {', '.join(NORMALISERS)}.")
    chosen, normalised = rules[rule], table.normalised(normalise)
    found = slate_of(normalised, size)
    used, counted = normalised.filled(), table.weights > 0
    places = chosen.places(used, table.weights[None, :])[0]
    winner = int(places.argmin())
    level = np.flatnonzero(places == places[winner])
    names = table.candidates
    gains = could_gain(table, chosen, normalise)
    flip = smallest_flip(table, chosen, normalise, farthest=float(max(2, size)))
    return Tally(
        rule=rule,
        normalise=normalise,
        members=list(table.members),
        candidates=list(names),
        weights=table.weights.tolist(),
        scores=[[None if np.isnan(score) else float(score) for score in row] for row in table.scores],
        used=used.tolist(),
        winner=names[winner],
        tied=[names[at] for at in level] if len(level) > 1 else [],
        winners={name: names[each.winners(used, table.weights[None, :])[0]] for name, each in rules.items()},
        ranking=[names[at] for at in np.argsort(places, kind="stable")],
        pareto=[names[at] for at in _undominated(used[counted])],
        gini=_gini(used[:, winner], table.weights),
        worst_off=_worst_off(table, used[:, winner]),
        price_of_fairness=_price(used, table.weights, winner),
        pivotal=[PivotalMember(member=each.member, winner=each.winner) for each in pivotal(table, chosen, normalise)],
        flip=None
        if flip is None
        else SmallestFlip(
            member=flip.member, weight=flip.weight, to=flip.to, winner=flip.winner, precision=flip.precision
        ),
        could_gain=None
        if gains is None
        else [
            FalseBallot(
                member=each.member,
                ballot=dict(zip(names, each.ballot, strict=True)),
                winner=each.winner,
                gain=each.gain,
            )
            for each in gains
        ],
        slate=SlateTally(
            candidates=list(found.candidates),
            served=dict(zip(found.candidates, map(list, found.served), strict=True)),
            unmet=[
                UnmetClaim(candidate=each.candidate, members=list(each.members), share=each.share)
                for each in found.unmet
            ],
        ),
    )


def _undominated(scores: Floats) -> list[int]:
    """The places of the candidates that no other dominates, of scores [n_members, n_candidates]."""
    as_good = (scores[:, :, None] >= scores[:, None, :]).all(axis=0)
    dominates = as_good & ~as_good.T
    return np.flatnonzero(~dominates.any(axis=0)).tolist()


def _gini(scores: Floats, weights: Floats) -> float:
    """Half the mean difference between two members' scores, as a share of the mean score; 0 where all have nothing."""
    shares = weights / weights.sum()
    mean = float(shares @ scores)
    if mean == 0:
        return 0.0
    return float(shares @ abs(scores[:, None] - scores) @ shares) / (2 * mean)


def _worst_off(table: Table, scores: Floats) -> WorstOff:
    at = int(np.where(table.weights > 0, scores, np.inf).argmin())
    return WorstOff(member=table.members[at], score=float(scores[at]))


def _price(scores: Floats, weights: Floats, winner: int) -> float:
    """(best - winner's) / best, of the mean scores (Bertsimas, Farias and Trichakis, The Price of Fairness, 2011)."""
    means = weights @ scores / weights.sum()
    best = float(means.max())
    return 0.0 if best == 0 else max(0.0, (best - float(means[winner])) / best)
