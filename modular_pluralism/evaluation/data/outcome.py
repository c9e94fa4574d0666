"""What became of one item under one method: plain values, so that it can be kept on disk and in a log."""

from __future__ import annotations

from typing_extensions import TypedDict

from modular_pluralism.evaluation.data.items import ItemId
from modular_pluralism.types import Comment


class Prediction(TypedDict):
    """A predicted option distribution, read in both ways from the same prompts.

    `rotate` is the average over all rotations of the options' order and `label` what their own order alone gives, both
    [n_options], summing to 1; the masses are the raw probability that the reply was a letter at all. `label` and the
    masses are None where the scoring has none. `samples` is the number of replies that it was estimated from, None
    where it was read from the model.
    """

    rotate: list[float]
    label: list[float] | None
    rotate_mass: float | None
    label_mass: float | None
    samples: int | None


class Outcome(TypedDict):
    """Either `error` is there, or the result: an `answer` (Overton), or a `prediction` (the other kinds). An answer
    that could not be measured is kept beside its error.

    `comments` by community, those that failed included; `missing` names these. `selected` is the community whose
    comment was used (steerable and MoE), with its probability. `measures` are the item's own scores that need a model,
    such as coverage; what needs none is computed from the rest whenever it is wanted. `lists` are such scores one by
    one: of each value, of each sentence. `seconds` is wall-clock time, shared with the items that ran beside it.
    `tokens` counts what was read, taken from the cache, and generated. `parse_failures` are replies in which no option
    and no number could be found, where an endpoint without log-probabilities had to be asked for them.
    """

    id: ItemId
    method: str
    error: str | None
    answer: str | None
    prediction: Prediction | None
    comments: dict[str, Comment]
    missing: list[str]
    selected: str | None
    selected_probability: float | None
    measures: dict[str, float]
    lists: dict[str, list[float]]
    seconds: float
    tokens: dict[str, int]
    parse_failures: int


def empty_outcome(id: ItemId, method: str) -> Outcome:
    """An outcome with nothing in it yet: no error, no result, no time, and nothing counted."""
    return Outcome(
        id=id,
        method=method,
        error=None,
        answer=None,
        prediction=None,
        comments={},
        missing=[],
        selected=None,
        selected_probability=None,
        measures={},
        lists={},
        seconds=0.0,
        tokens={},
        parse_failures=0,
    )
