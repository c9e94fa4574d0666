"""The share that a mended candidate has in the place of the one before, without asking about all the others again.

By Luce's choice axiom (1959), of which a model's probabilities over letters are an instance: how many times likelier
one of two is chosen does not depend on what stands beside them.
"""

from __future__ import annotations

from collections.abc import Mapping

_NEVER = 1e-6
"""A share of two that is nearer to 0 or 1 is taken for this: no reading is as sure."""


def share_in_place(share: float, of_pair: float) -> float:
    """The share that a mended candidate has among the others (0 to 1), of a candidate that had `share` among them and,
    of the two alone, leaves it `of_pair`."""
    sure = min(max(of_pair, _NEVER), 1 - _NEVER)
    weight = share * sure / (1 - sure)
    return weight / (weight + (1 - share)) if weight > 0 else 0.0


def put_in_place(scores: Mapping[str, float], of: str, candidate: str) -> dict[str, float]:
    """A member's scores, by candidate, with the mended `candidate` in the place of the one that it mends: what is left
    beside its share goes to the others, in the proportions that they had."""
    others = {name: score for name, score in scores.items() if name not in (of, candidate)}
    if candidate not in scores:
        return others
    before = 1 - scores.get(of, 0.0)
    factor = (1 - scores[candidate]) / before if before > 0 else 0.0
    return {**{name: score * factor for name, score in others.items()}, candidate: scores[candidate]}
