"""What the columns of a table measure, and how their figures come from the scores of the items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.evaluation.measures.classification import (
    CELLS,
    Confusion,
    accuracy,
    balanced_accuracy,
    counts_of_cells,
    macro_f1,
)
from modular_pluralism.evaluation.statistics.bootstrap import Draw, Statistic, Sums, ratio
from modular_pluralism.evaluation.statistics.results import Better, Column, Figure
from modular_pluralism.evaluation.statistics.scores import Scores

Features: TypeAlias = NDArray[np.float64]
"""[n_items, n_features], what is summed over items."""

Mask: TypeAlias = NDArray[np.bool_]
"""[n_items]"""


@dataclass(frozen=True)
class Measure:
    """A column, the key of the scores behind it, and its statistic of the features' sums.

    `features` of the key's column [n_items]; an item without a value has features of zero.
    """

    column: Column
    key: str
    features: Callable[[NDArray[np.float64]], Features]
    statistic: Statistic
    counted: Callable[[Sums], float]
    """Over how many items the figure is."""

    def valid(self, scores: Scores) -> Mask:
        """The items that have a value."""
        return np.isfinite(scores.column(self.key))


def mean_of(
    key: str, title: str, help: str, *, better: Better | None = None, share: bool = False, name: str | None = None
) -> Measure:
    """The mean over the items that have a value."""
    column = Column(key=name or key, title=title, better=better, share=share, help=help)
    return Measure(column, key, _mean_features, ratio(0, 1), lambda sums: float(sums[1]))


def choice_measures(key: str, suffix: str = "", titled: str = "", helped: str = "") -> list[Measure]:
    """Accuracy, balanced accuracy and macro F1 of the stances in a column of cells."""
    told: list[tuple[str, str, Callable[[Confusion], NDArray[np.float64]], str]] = [
        ("accuracy", "accuracy", accuracy, "Share of items with the right stance; a failure is wrong."),
        (
            "balanced_accuracy",
            "balanced accuracy",
            balanced_accuracy,
            "Mean over the stances of the share of their items that got it; to say always the same stance scores one "
            "divided by the number of stances.",
        ),
        ("macro_f1", "macro F1", macro_f1, "Mean over the stances of the harmonic mean of precision and recall."),
    ]
    return [
        Measure(
            Column(
                key=name + suffix, title=title + titled, better="higher", share=name != "macro_f1", help=help + helped
            ),
            key,
            _cell_features,
            _of_counts(statistic),
            lambda sums: float(sums.sum()),
        )
        for name, title, statistic, help in told
    ]


def figures(scores: Scores, measures: Sequence[Measure], draw: Draw, *, only: Mask | None = None) -> dict[str, Figure]:
    """The measures' figures over the items of `only`, None for all; all from the same resampled questions."""
    return _drawn(measures, [[_block(measure, scores, only)] for measure in measures], draw, only)


def differences(
    one: Scores, other: Scores, measures: Sequence[Measure], draw: Draw, *, only: Mask | None = None
) -> dict[str, Figure]:
    """What `one` has more than `other`, over the items (of `only`) where both have a value; resampled in pairs."""
    pairs = []
    for measure in measures:
        both = measure.valid(one) & measure.valid(other)
        both = both if only is None else both[only]
        pairs.append([np.where(both[:, None], _block(measure, each, only), 0) for each in (one, other)])
    return _drawn(measures, pairs, draw, only)


def _drawn(
    measures: Sequence[Measure], blocks: Sequence[Sequence[Features]], draw: Draw, only: Mask | None
) -> dict[str, Figure]:
    """A figure of each measure from its one block of features, or the difference between those of its two."""
    if not blocks:
        return {}
    bootstrap = draw.of(np.concatenate([block for row in blocks for block in row], axis=1), only)
    drawn, at = {}, 0
    for measure, row in zip(measures, blocks, strict=True):
        width = row[0].shape[1]
        statistics = [_part(measure.statistic, at + width * number, width) for number in range(len(row))]
        end = at + width * len(row)
        drawn[measure.column.key] = bootstrap.figure(
            _minus(*statistics) if len(row) == 2 else statistics[0],
            n=round(min(measure.counted(block.sum(0)) for block in row)),
            difference=len(row) == 2,
            share=measure.column.share,
            clusters=bootstrap.clusters_with(slice(at, end)),
        )
        at = end
    return drawn


def seen(measures: Sequence[Measure], rows: Mapping[str, Scores]) -> list[Measure]:
    """The measures that some row has a value for."""
    return [measure for measure in measures if any(scores.has(measure.key) for scores in rows.values())]


def _block(measure: Measure, scores: Scores, only: Mask | None) -> Features:
    column = scores.column(measure.key)
    return measure.features(column if only is None else column[only])


def _part(statistic: Statistic, at: int, width: int) -> Statistic:
    return lambda sums: statistic(sums[..., at : at + width])


def _minus(first: Statistic, second: Statistic) -> Statistic:
    return lambda sums: first(sums) - second(sums)


def _mean_features(column: NDArray[np.float64]) -> Features:
    valid = np.isfinite(column)
    return np.stack([np.where(valid, column, 0.0), valid.astype(np.float64)], axis=1)


def _cell_features(column: NDArray[np.float64]) -> Features:
    valid = np.isfinite(column)
    cells = np.zeros((len(column), CELLS))
    cells[np.flatnonzero(valid), column[valid].astype(int)] = 1
    return cells


def _of_counts(statistic: Callable[[Confusion], NDArray[np.float64]]) -> Statistic:
    return lambda sums: statistic(counts_of_cells(sums))
