"""Two methods on the same items, in pairs: by how much they differ, how sure that is, and what may be said of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, Draw
from modular_pluralism.evaluation.statistics.figures import Mask, Measure, differences, figures
from modular_pluralism.evaluation.statistics.results import Figure, Row, Table
from modular_pluralism.evaluation.statistics.scores import Scores

Verdict = Literal["better", "worse", "same", "unclear", "too few questions", "no value"]
"""Of one method against another. "better" and "worse" need an interval of the paired difference that excludes zero,
over enough questions; "same" says that no item came out otherwise."""


@dataclass(frozen=True)
class Comparison:
    """`one` method against `other` by a measure: both figures, the paired `difference` (one minus other) over the items
    where both have a value, how many `questions` these are, and the `verdict` on the one."""

    one: Figure
    other: Figure
    difference: Figure
    questions: int
    verdict: Verdict


def compare(one: Scores, other: Scores, measure: Measure, draw: Draw, *, only: Mask | None = None) -> Comparison:
    """One method against another by one measure, over the items of `only` (None: all)."""
    key = measure.column.key
    both = measure.valid(one) & measure.valid(other)
    both = both if only is None else both & only
    questions = int(both.sum() if draw.clusters is None else len(np.unique(draw.clusters[both])))
    difference = differences(one, other, [measure], draw, only=only)[key]
    return Comparison(
        one=figures(one, [measure], draw, only=only)[key],
        other=figures(other, [measure], draw, only=only)[key],
        difference=difference,
        questions=questions,
        verdict=verdict_of(
            difference,
            higher_is_better=measure.column.better == "higher",
            same=np.array_equal(one.column(measure.key)[both], other.column(measure.key)[both]),
            questions=questions,
        ),
    )


def verdict_of(difference: Figure, *, higher_is_better: bool, same: bool, questions: int) -> Verdict:
    """What may be said of a paired difference over so many questions; `same` says that all pairs came out equal."""
    if difference.value is None:
        return "no value"
    if same:
        return "same"
    # A percentile interval over few questions is too narrow, whatever it excludes.
    if questions < CLEAR_FROM:
        return "too few questions"
    if not difference.clear:
        return "unclear"
    return "better" if (difference.value > 0) == higher_is_better else "worse"


def difference_table(
    title: str,
    pairs: Iterable[tuple[str, str]],
    methods: Mapping[str, Scores],
    measures: Sequence[Measure],
    draw: Draw,
    *,
    baselines: Mapping[str, Scores] | None = None,
) -> Table:
    """A row for each pair of methods, or of a method and a baseline: the first minus the second, by all measures."""
    baselines = baselines or {}
    scores = {**baselines, **methods}
    return Table(
        name="differences",
        title=title,
        note="Each difference is over the items where both have a value, with the same questions drawn for both; only "
        f"where its interval excludes zero is it clear, and never with fewer than {CLEAR_FROM} questions.",
        columns=[measure.column for measure in measures],
        rows=[
            Row(
                name=f"{one} − {other}",
                baseline=other in baselines,
                cells=differences(scores[one], scores[other], measures, draw),
            )
            for one, other in pairs
        ],
        chart=measures[0].column.key if measures else None,
    )
