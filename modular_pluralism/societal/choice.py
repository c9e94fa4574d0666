"""The rules by which an assembly can choose among candidates: what each assumes of the numbers, and what weights mean.

This is the one place that lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from modular_pluralism.societal.orders import points, schulze
from modular_pluralism.societal.places import Places, places_by, sums
from modular_pluralism.societal.slate import SLATE, first_of_slate
from modular_pluralism.societal.table import Floats
from modular_pluralism.societal.welfare import leximin, log_utilities, maximin, utilities

ChoiceName = Literal["utilitarian", "nash", "maximin", "leximin", "borda", "schulze", "slate"]
"""By which rule an assembly chooses; see `choice_rules`."""

Assumes = Literal["common units", "common levels", "common zeros", "nothing"]
"""What has to be the same for all members so that their scores can be taken together: how much one more unit is, what
a score stands for, where nothing begins, or nothing: only each member's own order counts."""

_BLOCK = 2_000_000
"""Numbers that are looked at at once: 16 MB for each of a few arrays."""


@dataclass(frozen=True)
class ChoiceRule(ABC):
    """A rule that places candidates by scores and weights; what it leaves level, the order of the candidates decides.

    `chooses` and `weighs` say in words what comes first, and what a member's weight does.
    """

    name: ChoiceName
    chooses: str
    assumes: Assumes
    weighs: str

    def places(self, scores: Floats, weights: Floats) -> Places:
        """The candidates' places [n_weightings, n_candidates] under each weighting; 0 is the best.

        Args:
            scores: Without a gap, [n_members, n_candidates].
            weights: Not negative, and not all 0 in a row, [n_weightings, n_members].
        """
        shares = weights / weights.sum(axis=1, keepdims=True)
        rows = max(1, _BLOCK // scores.size)
        blocks = [self._places(scores, shares[at : at + rows]) for at in range(0, max(1, len(shares)), rows)]
        return np.concatenate(blocks)

    def winners(self, scores: Floats, weights: Floats) -> Places:
        """Who comes first under each weighting, [n_weightings]; of those that are level, the first candidate."""
        winners: Places = self.places(scores, weights).argmin(axis=1)
        return winners

    @abstractmethod
    def _places(self, scores: Floats, shares: Floats) -> Places: ...


@dataclass(frozen=True)
class SummedRule(ChoiceRule):
    """A rule whose keys are weighted sums over the members, so that what a weight changes can be computed exactly."""

    parts: Callable[[Floats], tuple[Floats, ...]]
    """From scores to what each member adds to each key, [n_members, n_candidates]."""

    def _places(self, scores: Floats, shares: Floats) -> Places:
        return places_by([sums(shares, part) for part in self.parts(scores)])


@dataclass(frozen=True)
class ComparedRule(ChoiceRule):
    """A rule that compares, so that what a weight changes has to be searched for."""

    order: Callable[[Floats, Floats], Places]
    only_whether: bool = False
    """Whether a weight matters only by being above 0."""

    def _places(self, scores: Floats, shares: Floats) -> Places:
        return self.order(scores, shares)


_TIMES = "A member of the weight 2 counts as two of the weight 1."


def choice_rules(slate: int = SLATE) -> Mapping[ChoiceName, ChoiceRule]:
    """The rules by name; a slate of so many candidates."""
    rules = (
        SummedRule("utilitarian", "The largest sum of scores.", "common units", _TIMES, utilities),
        SummedRule("nash", "The largest product of scores.", "common zeros", _TIMES, log_utilities),
        ComparedRule(
            "maximin",
            "The best score of whoever is worst off.",
            "common levels",
            "Every member with a weight above 0 counts alike, and one without does not count.",
            maximin,
            only_whether=True,
        ),
        ComparedRule(
            "leximin",
            "The best score of whoever is worst off, then of the next, and so on.",
            "common levels",
            f"{_TIMES} That matters only between candidates whose worst scores are equal.",
            leximin,
        ),
        SummedRule("borda", "The most other candidates ranked below it.", "nothing", _TIMES, points),
        ComparedRule("schulze", "The strongest pairwise majorities.", "nothing", _TIMES, schulze),
        ComparedRule(
            "slate",
            f"What a slate of {slate} begins with: the best score that 1/{slate} of the weight gives it at least.",
            "common levels",
            _TIMES,
            partial(first_of_slate, slate),
        ),
    )
    return {rule.name: rule for rule in rules}
