"""What fitting the priors has found, as it is written to JSON and shown."""

from __future__ import annotations

from typing import Literal

from modular_pluralism.evaluation.statistics.results import Figure, ResultModel, Results

Verdict = Literal["gain", "loss", "same", "unclear", "too few questions"]
"""Of the fitted weights against uniform ones, on the questions that were held back."""


class FittedPriors(ResultModel):
    """Weights by community, which sum to 1, and the number of items and questions that they were fitted on. `gap` is
    how much better than them other weights could fit these items at most, in nats an item."""

    weights: dict[str, float]
    items: int
    questions: int
    gap: float


class PriorsResult(ResultModel):
    """All of a fit. `overall` are for every attribute, and `by_attribute` for those that had enough questions; `few`
    are the others. `gain` is the JS distance of uniform weights minus that of the fitted ones, paired over the
    questions that were held back, so that more is better. `results` has all tables."""

    format: Literal[1] = 1
    voice: str
    overall: FittedPriors
    by_attribute: dict[str, FittedPriors]
    few: list[str]
    gain: Figure
    verdict: Verdict
    sentence: str
    results: Results
