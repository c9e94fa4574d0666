"""The typed state of each graph. It is JSON-serialisable and holds no key, so a checkpoint of it is complete."""

from __future__ import annotations

from typing import Annotated, Required, TypedDict, TypeVar

from modular_pluralism.types import Comment, Mode, OptionDistribution, Selection, Usage

V = TypeVar("V")


def by_community(old: dict[str, V] | None, new: dict[str, V] | None) -> dict[str, V]:
    """Reducer: parallel branches each add their own entry, and None empties the state for a new run."""
    return {} if new is None else {**(old or {}), **new}


class Question(TypedDict, total=False):
    """What every mode is asked. `seed` makes a run repeatable (default 0)."""

    question: Required[str]
    seed: int


class SteerableQuestion(Question, total=False):
    """`options` are optional: with them the answer is a choice, without it is a text."""

    attribute: Required[str]
    options: list[str]


class DistributionalQuestion(Question, total=False):
    """Two to 26 options."""

    options: Required[list[str]]


class PluralismQuestion(Question, total=False):
    """A question for the mode that it names, with what that mode needs."""

    mode: Required[Mode]
    attribute: str
    options: list[str]


class Commented(TypedDict, total=False):
    """What every mode's communities leave behind. `missing` names those that failed."""

    comments: Annotated[dict[str, Comment], by_community]
    missing: list[str]


class OvertonState(Question, Commented, total=False):
    """Overton: one answer that covers the spectrum of views, and in `usage` what it cost and how it finished."""

    answer: str
    usage: Usage


class SteerableState(SteerableQuestion, Commented, total=False):
    """Steerable: the selected community, and the answer in the light of its comment."""

    selected: Selection
    answer: str
    usage: Usage
    choice: str
    distribution: OptionDistribution


class DistributionalState(DistributionalQuestion, Commented, total=False):
    """Distributional: the pooled distribution in the order of the options, and what it was pooled from."""

    distributions: Annotated[dict[str, OptionDistribution], by_community]
    distribution: list[float]
    label_mass: float | None
    disagreement: float
    weights: dict[str, float]


class BranchOutput(TypedDict, total=False):
    """What one community's branch of the distributional graph gives back to it."""

    comments: Annotated[dict[str, Comment], by_community]
    distributions: Annotated[dict[str, OptionDistribution], by_community]


class PluralismState(PluralismQuestion, Commented, total=False):
    """The union of the three modes' states."""

    answer: str
    usage: Usage
    selected: Selection
    choice: str
    distributions: Annotated[dict[str, OptionDistribution], by_community]
    distribution: list[float] | OptionDistribution
    label_mass: float | None
    disagreement: float
    weights: dict[str, float]
