"""What adding a community has changed, as it is written to JSON and shown."""

from __future__ import annotations

from typing import Literal

from modular_pluralism.evaluation.statistics.results import Column, Figure, ResultModel, Results


class GroupChange(ResultModel):
    """One group of items, None for all of them: the measure without and with the community, and the paired change
    (with minus without). `worse` and `better` are clear ones, whose interval excludes zero over enough questions."""

    group: str | None
    questions: int
    without: Figure
    with_it: Figure
    change: Figure
    worse: bool = False
    better: bool = False


class PatchResult(ResultModel):
    """All of a patch. `groups` has all items first, then the groups of `grouping`, those that got worse most first.
    `made` and `reused` count the model calls that were made, and those of the pool without the community whose result
    was there already."""

    format: Literal[1] = 1
    community: str
    voice: str
    grouping: str
    measure: Column
    groups: list[GroupChange]
    made: int
    reused: int
    sentence: str
    results: Results
