"""The results of an evaluation, as they are written to JSON and shown in the terminal and in the report."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Better = Literal["higher", "lower"]
Rank = Literal["best", "worst"]


class ResultModel(BaseModel):
    """What is written to JSON: nothing else may stand in it, and nothing is changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Figure(ResultModel):
    """A number with its 95 % bootstrap interval over n items; both ends are None where there is nothing to resample.

    `value` is None where no item has one. `clear` says, for a difference, that the interval excludes zero: only then
    is it printed bold.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    clear: bool = False


class Column(ResultModel):
    """A measure. `better` says which way is good, None where neither is; `share` that it is printed in per cent; `help`
    is a sentence on what it measures."""

    key: str
    title: str
    better: Better | None = None
    share: bool = False
    help: str = ""


class Row(ResultModel):
    """A method, a training-free baseline, or a pair of methods; `group` is the attribute's group, None for all."""

    name: str
    group: str | None = None
    baseline: bool = False
    cells: dict[str, Figure]


class Table(ResultModel):
    """`chart` names the column that is drawn as bars with intervals, one for each row, or None for no chart."""

    name: str
    title: str
    note: str = ""
    columns: list[Column]
    rows: list[Row]
    chart: str | None = None


class ReliabilityPoint(ResultModel):
    """Options whose predicted share falls into one bin: the mean prediction, and the mean real share."""

    predicted: float
    real: Figure


class Example(ResultModel):
    """One of the best or worst items of a method, with all that it takes to see why.

    `score` is the item's value of `measure`. `gold` and `predicted` are [n_options]; `values` are an Overton item's
    values with the coverage of each.
    """

    rank: Rank
    method: str
    id: int | str
    measure: str
    score: float
    question: str
    attribute: str | None = None
    options: list[str] = []
    gold: list[float] = []
    predicted: list[float] = []
    values: list[tuple[str, float]] = []
    answer: str | None = None
    comments: list[tuple[str, str]] = []
    """The communities' names and what they said, or why they did not."""


class Failure(ResultModel):
    """An item that a method has no result for."""

    method: str
    id: int | str
    error: str


class Results(ResultModel):
    """All of an evaluation. `task` and `run` are shown as lists of names and values; `warnings` are sentences that a
    reader has to see before any number."""

    format: Literal[1] = 1
    title: str
    task: dict[str, Any]
    run: dict[str, Any]
    warnings: list[str]
    tables: list[Table]
    reliability: dict[str, list[ReliabilityPoint]] = {}
    examples: list[Example] = []
    failures: list[Failure] = []
    failed: int = 0
    """All failures; `failures` has the first of them."""
