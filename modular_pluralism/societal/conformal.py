"""From which score on a person decides: split conformal prediction over questions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modular_pluralism.errors import InputError


@dataclass(frozen=True)
class Threshold:
    """A score that that of a new question exceeds with a probability of at most `alpha`.

    It was fitted on `scores` scores of `questions` questions; `coverage` is the share of these that are at or below it,
    each question counting once.
    """

    value: float
    alpha: float
    questions: int
    scores: int
    coverage: float


def conformal_threshold(scores: Mapping[str, Sequence[float]], alpha: float) -> Threshold:
    """The threshold by split conformal prediction, with questions as the units.

    Items that ask the same are no independent evidence, so that every question weighs 1/(n + 1), shared by its scores,
    and the last part stands for the new one: the threshold is the 1 - alpha quantile of that (Lee, Barber and Willett,
    Distribution-free inference with hierarchical data, 2023). For one score a question it is the ⌈(n + 1)(1 - alpha)⌉th
    smallest. Where new questions are drawn as these were, an item of one is above it with a probability of at most
    alpha, over the drawing of both; for single questions, or kinds of them, that promises nothing.

    Args:
        scores: By question, one or more; the larger, the worse.
        alpha: Above 0 and below 1.

    Raises:
        InputError: alpha is out of range, a question has no score or one that is no number, or there are fewer
            questions than (1 - alpha) / alpha, so that no threshold could keep the promise.
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; give a number above 0 and below 1, such as 0.1.")
    for question, each in scores.items():
        if not each or not all(map(math.isfinite, each)):
            raise InputError(f"The question {question!r} has no score, or one that is no number; leave it out.")
    needed = math.ceil((1 - alpha) / alpha - 1e-9)
    if len(scores) < needed:
        raise InputError(
            f"{len(scores)} questions are too few for alpha {alpha:g}; give {needed} at least, or a larger alpha."
        )
    weighed = sorted((score, 1 / len(each)) for each in scores.values() for score in each)
    wanted = (1 - alpha) * (len(scores) + 1) - 1e-9
    reached, value = 0.0, weighed[-1][0]
    for score, weight in weighed:
        reached += weight
        if reached >= wanted:
            value = score
            break
    covered = math.fsum(weight for score, weight in weighed if score <= value)
    return Threshold(value, alpha, len(scores), len(weighed), covered / len(scores))
