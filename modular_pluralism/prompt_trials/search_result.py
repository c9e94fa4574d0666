"""What a search for a better prompt has found, as it is written to JSON and shown."""

from __future__ import annotations

from typing import Literal

from modular_pluralism.evaluation.statistics.results import Column, ResultModel, Results
from modular_pluralism.prompt_trials.trial_result import Compared


class TriedText(ResultModel):
    """A text that was tried on all training items; `merit` is the mean that the search climbs by, from 0 to 1, and
    `parent` the place of the text that it was made from, None for the built-in one."""

    text: str
    merit: float
    parent: int | None


class SearchResult(ResultModel):
    """All of a search for a better text of the prompt in `file`.

    `best` is the text with the highest merit over the training items, None where that is the built-in one; `training`
    and `held_back` compare it with the built-in one by `measure`, on items that share no question. `better` says that
    the held-back comparison is clear. `reflections` counts what the reflecting model was asked, and `refused` the
    replies that could not be used, with a sentence for each of the `reasons` and how often it was given.
    """

    format: Literal[1] = 1
    name: str
    file: str
    measure: Column
    better: bool
    sentence: str
    best: str | None
    training: Compared | None
    held_back: Compared | None
    budget: int
    metric_calls: int
    reflections: int
    refused: int
    reasons: dict[str, int]
    texts: list[TriedText]
    results: Results


def search_sentence(result: SearchResult) -> str:
    """What the search took, in words."""
    return (
        f"The search took {result.metric_calls} of {result.budget} metric calls and asked for a new text "
        f"{result.reflections} times; {result.refused} replies could not be used, and {len(result.texts) - 1} new "
        "texts did well enough to be tried on all training items."
    )
