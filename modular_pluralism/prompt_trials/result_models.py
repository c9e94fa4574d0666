"""What trials of prompts and searches for better ones have found, as it is written to JSON and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from modular_pluralism.evaluation.statistics.comparison import Verdict
from modular_pluralism.evaluation.statistics.results import Column, Figure, ResultModel, Results

CUT_OFF = "Cut off by its token limit."
"""What is said of such an answer wherever it is shown."""


class CallCounts(ResultModel):
    """Model calls of one set of prompts: those that were made, and those whose result was there already."""

    made: int
    reused: int


class ItemAnswer(ResultModel):
    """What one set of prompts made of an item; `predicted` is [n_options]. `score` is None where it failed."""

    score: float | None
    predicted: list[float] | None = None
    answer: str | None = None
    selected: str | None = None
    error: str | None = None


class ChangedItem(ResultModel):
    """An item, and what the built-in prompts and a variant made of it. `change` is the variant's `measure` minus the
    built-in one's."""

    variant: str
    id: int | str
    question: str
    attribute: str | None
    options: list[str]
    gold: list[float]
    measure: str
    change: float
    built_in: ItemAnswer
    other: ItemAnswer


class Compared(ResultModel):
    """One variant against the built-in prompts by the measure that decides: both figures, their paired difference
    (variant minus built-in), and what to make of it, also as a `sentence`."""

    name: str
    changed: list[str]
    built_in: Figure
    value: Figure
    difference: Figure
    verdict: Verdict
    sentence: str


class TrialResult(ResultModel):
    """All of a trial. `measure` decides; `results` has all measures of all sets of prompts, and the differences."""

    format: Literal[1] = 1
    measure: Column
    variants: list[Compared]
    calls: dict[str, CallCounts]
    items: list[ChangedItem]
    results: Results


def calls_sentence(counts: Mapping[str, CallCounts]) -> str:
    """How many model calls were made and how many were spared, in words."""
    said = []
    for name, calls in counts.items():
        of = calls.made + calls.reused
        said.append(f"{name} {calls.reused} of {of}" if of else f"{name} none")
    made = sum(each.made for each in counts.values())
    return f"Model calls: {made} made. Reused instead of made again: {'; '.join(said)}."


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


class Answer(ResultModel):
    """What a run with the set of prompts called `prompts` made of the question numbered `item`. `distribution` is
    [n_options]; `comments` are texts by community. `cut_off` and `cut_comments` tell what was cut off by its token
    limit. `error` says why there is no answer."""

    item: int
    prompts: str
    question: str
    attribute: str | None
    options: list[str]
    answer: str | None
    choice: str | None
    distribution: list[float] | None
    selected: str | None
    comments: dict[str, str]
    missing: list[str]
    error: str | None
    seconds: float
    cut_off: bool = False
    cut_comments: list[str] = Field(default_factory=list)

    @property
    def shown(self) -> str:
        """What people compare."""
        if self.error is not None:
            return self.error
        if self.distribution is None:
            return self.answer or ""
        shares = zip(self.distribution, self.options, strict=True)
        return "\n".join(f"{share:6.1%}  {option}" for share, option in shares)


class Rating(ResultModel):
    """What somebody has said of a pair of answers: which set of prompts is better, None where neither is; or that the
    pair was `skipped`. `first` is the set that was shown first."""

    item: int
    variant: str
    first: str
    preferred: str | None
    skipped: bool = False


class Preference(ResultModel):
    """A variant against `base` by ratings that were given blind. `ties` were rated so; of `equal` pairs both answers
    are the same, which counts as a tie without being shown; of `failed` ones an answer is missing. `net` is the share
    of pairs that the variant has won minus the share that it has lost, over won, lost, tied and equal pairs."""

    variant: str
    base: str
    wins: int
    losses: int
    ties: int
    equal: int
    skipped: int
    failed: int
    left: int
    net: Figure
    verdict: Verdict
    sentence: str


class SideBySide(ResultModel):
    """All of a comparison without right answers: the sets of prompts in `names`, the base first, and what was run.
    `comparison` is a digest of all that its answers depend on."""

    format: Literal[1] = 1
    comparison: str
    names: list[str]
    changed: dict[str, list[str]]
    questions: int
    differ: dict[str, int]
    failed: dict[str, int]
    preferences: list[Preference]
    run: dict[str, Any]
