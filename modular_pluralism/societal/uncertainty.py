"""What an assembly does not know, told apart: that members disagree, that they doubt, that the reading is poor.

Three numbers and a sentence, never one number (after section 5 of Stańczak et al.).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from typing_extensions import TypedDict  # of `typing`'s, pydantic makes no schema before Python 3.12

from modular_pluralism.option_math import disagreement, entropy, is_low
from modular_pluralism.societal.table import Table
from modular_pluralism.types import Ballot

FAIRLY_SURE = 0.6
"""Below this normalised entropy a community is called fairly sure: of three candidates, one has about 0.8 then."""

WIDE = 0.2
"""From this mean spread on a reading is called weak: the same thing, read twice, differs by a fifth."""


class Instrument(TypedDict):
    """How good the reading itself is: the means, over the ballots that were read, of the largest difference between two
    readings of the same thing, and of the probability on all labels; None where no ballot tells."""

    spread: float | None
    label_mass: float | None


class Uncertainty(TypedDict):
    """What is not known of a choice.

    `between` is the generalised Jensen-Shannon divergence of the members' scores, each divided by their sum, in nats: 0
    where all put the same share on every candidate. `within` is the mean entropy of the communities' as a share of the
    largest possible (0 to 1); None where none was read or there is one candidate. Both are weighted. `agree` is how
    many of the members `of` have the same candidate among those that they score highest. `words` says all of it.
    """

    between: float
    within: float | None
    instrument: Instrument
    agree: int
    of: int
    words: str


def uncertainty(table: Table, ballots: Sequence[Ballot]) -> Uncertainty:
    """What the ballots leave open of which candidate to choose.

    A person's scores say how well each candidate serves, and not how likely it is: persons do not count in `within`. A
    member that scores every candidate 0 is taken to be indifferent.

    Args:
        table: Of these ballots, with the weights.
        ballots: On candidates and, where the reading of the rules is to count as well, on rules.
    """
    counted = np.flatnonzero(table.weights)
    weights = (table.weights[counted] / table.weights.sum()).tolist()
    scores = table.filled()[counted]
    distributions = [_shares(row) for row in scores.tolist()]
    communities = {ballot["member"] for ballot in ballots if ballot["kind"] == "community"}
    sure = [at for at, place in enumerate(counted) if table.members[place] in communities]
    most = math.log(len(table.candidates))
    doubts = [entropy(distributions[at]) / most for at in sure] if most else []
    instrument = Instrument(
        spread=_mean([ballot["spread"] for ballot in ballots]),
        label_mass=_mean([ballot["label_mass"] for ballot in ballots]),
    )
    agree = int((scores == scores.max(axis=1, keepdims=True)).sum(axis=0).max())
    words = [
        _agreement(agree, len(counted)) if most else "there is one candidate only",
        *([_doubt(doubts)] if doubts else []),
        _reading(instrument),
    ]
    return Uncertainty(
        between=disagreement(distributions, weights),
        within=_weighted_mean(doubts, [weights[at] for at in sure]) if doubts else None,
        instrument=instrument,
        agree=agree,
        of=len(counted),
        words="; ".join(words),
    )


def _shares(scores: Sequence[float]) -> list[float]:
    total = math.fsum(scores)
    return [score / total for score in scores] if total > 0 else [1 / len(scores)] * len(scores)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def _weighted_mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(weight * value for weight, value in zip(weights, values, strict=True)) / math.fsum(weights)


def _agreement(agree: int, of: int) -> str:
    if of == 1:
        return "one member alone was heard"
    return f"all {of} agree" if agree == of else f"{agree} of {of} agree" if agree > 1 else f"none of {of} agree"


def _doubt(doubts: Sequence[float]) -> str:
    sure = sum(doubt < FAIRLY_SURE for doubt in doubts)
    if len(doubts) == 1:
        return "it is fairly sure" if sure else "it is in doubt"
    if sure == len(doubts):
        return "each is fairly sure"
    return f"{sure} of {len(doubts)} are fairly sure" if sure > 1 else "one is fairly sure" if sure else "none is sure"


def _reading(instrument: Instrument) -> str:
    spread, mass = instrument["spread"], instrument["label_mass"]
    if spread is None and mass is None:
        return "nothing was read from a model"
    weak = is_low(mass, "rotate") or (spread is not None and spread >= WIDE)
    return "the reading is weak" if weak else "the reading is steady"
