"""Measures of a choice between the three stances, from counts of what was right and what was said."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Confusion: TypeAlias = NDArray[np.float64]
"""[..., 3, 4]: how often the stance of the row was right and that of the column was said; the last column counts the
failures, where nothing was said. Any leading axes, such as one of resamples."""

FAILED = 3
"""The column of failures."""

CELLS = 12
"""Places of one item in the counts."""

EITHER = 2
"""The stance C, which both supports and opposes."""


def cell(gold: int, said: int | None) -> int:
    """The place of an item in the flattened counts; stances are numbered 0 to 2, and None is a failure."""
    return 4 * gold + (FAILED if said is None else said)


def counts_of_cells(flat: NDArray[np.float64]) -> Confusion:
    """[..., CELLS] to [..., 3, 4]."""
    return flat.reshape(*flat.shape[:-1], 3, 4)


def is_two_way(gold: int, said: int | None) -> bool:
    """Whether the item stays when those are left out where "either" is right or was said, as in the paper's release.

    An item that failed stays, and is wrong.
    """
    return EITHER not in (gold, said)


def accuracy(counts: Confusion) -> NDArray[np.float64]:
    """Share of items with the right stance; a failure is wrong. [...], NaN where there is no item."""
    return _divide(_right(counts).sum(-1), counts.sum((-2, -1)))


def balanced_accuracy(counts: Confusion) -> NDArray[np.float64]:
    """Mean over the stances that are right for some item of the share of these items that got it. [...]"""
    wanted = counts.sum(-1)
    recall = np.where(wanted > 0, _right(counts) / np.maximum(wanted, 1), 0)
    return _divide(recall.sum(-1), (wanted > 0).sum(-1).astype(np.float64))


def macro_f1(counts: Confusion) -> NDArray[np.float64]:
    """Mean F1 of the stances that are right for some item or said for one; a failure is a stance that none is. [...]

    This is scikit-learn's `f1_score` with the average "macro" over these stances.
    """
    right, wanted, said = _right(counts), counts.sum(-1), counts[..., :FAILED].sum(-2)
    both = wanted + said
    f1 = np.where(both > 0, 2 * right / np.maximum(both, 1), 0)
    return _divide(f1.sum(-1), (both > 0).sum(-1).astype(np.float64))


def _right(counts: Confusion) -> NDArray[np.float64]:
    said: NDArray[np.float64] = counts[..., :FAILED]
    return said.diagonal(axis1=-2, axis2=-1)


def _divide(value: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    quotient: NDArray[np.float64] = np.divide(value, by, out=np.full(np.shape(value), np.nan), where=by > 0)
    return quotient
