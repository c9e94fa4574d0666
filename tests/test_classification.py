"""Measures of stances against scikit-learn, and stances told from words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.evaluation.measures.classification import (
    CELLS,
    Confusion,
    accuracy,
    balanced_accuracy,
    cell,
    counts_of_cells,
    is_two_way,
    macro_f1,
)
from modular_pluralism.evaluation.measures.stance import stance_of

SAID = st.tuples(st.integers(0, 2), st.none() | st.integers(0, 2))


def counts(items: Sequence[tuple[int, int | None]]) -> Confusion:
    flat = np.bincount([cell(*item) for item in items], minlength=CELLS).astype(float)
    return counts_of_cells(flat)


def check(items: list[tuple[int, int | None]]) -> None:
    from sklearn import metrics  # type: ignore[import-untyped]  # takes a second

    gold = [right for right, _ in items]
    said = [3 if each is None else each for _, each in items]
    found = counts(items)
    present = sorted({*gold, *said} - {3})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn wonders at a stance that is never right
        assert accuracy(found) == pytest.approx(metrics.accuracy_score(gold, said))
        assert balanced_accuracy(found) == pytest.approx(metrics.balanced_accuracy_score(gold, said))
        assert macro_f1(found) == pytest.approx(
            metrics.f1_score(gold, said, labels=present, average="macro", zero_division=0)
        )


@given(st.lists(SAID, min_size=1, max_size=40))
def test_three_way_measures_equal_scikit_learn(items: list[tuple[int, int | None]]) -> None:
    check(items)


@given(st.lists(SAID, min_size=1, max_size=40).map(lambda items: [item for item in items if is_two_way(*item)]))
def test_two_way_measures_equal_scikit_learn(items: list[tuple[int, int | None]]) -> None:
    if items:
        check(items)
    else:
        assert np.isnan(accuracy(counts_of_cells(np.zeros(CELLS))))


def test_either_is_left_out_where_it_is_right_or_said_and_a_failure_stays() -> None:
    assert [is_two_way(0, 1), is_two_way(0, None), is_two_way(2, 0), is_two_way(0, 2)] == [True, True, False, False]


def test_a_failure_is_wrong_everywhere() -> None:
    right, failed = [(0, 0), (1, 1), (2, 2)], [(0, 0), (1, 1), (2, None)]
    for measure in (accuracy, balanced_accuracy, macro_f1):
        assert measure(counts(right)) == 1
        assert measure(counts(failed)) < 1


def test_many_counts_are_measured_at_once() -> None:
    several = np.stack([counts([(0, 0), (1, 0)]), counts([(0, 1), (1, 1)])])
    for measure in (accuracy, balanced_accuracy, macro_f1):
        assert list(measure(several)) == [float(measure(each)) for each in several]


@pytest.mark.parametrize(
    ("answer", "stance"),
    [
        ("A. Support", 0),
        ("B", 1),
        (" (C) Either", 2),
        ("Answer: B. Oppose", 1),
        ("The answer is c", 2),
        ("I would say B. It hurts people.", 1),
        ("supports", 0),
        ("Honesty opposes telling a lie.", 1),
        ("It depends on the person.", 2),
        ("It may support or oppose it; either.", 2),
        ("A right to privacy opposes this.", 1),
        ("a value like honesty supports it", 0),
        ("", None),
        ("banana", None),
        ("It supports some and opposes others.", None),
        ("It does not support that.", None),
        ("It doesn't oppose that.", None),
        ("Between A. and B. I cannot say.", None),
        ("Because of that, I cannot say.", None),
        ("Support B. Oppose", 1),
        ("A Christian would oppose it.", 1),
        ("A Muslim would oppose this.", 1),
        ("Answer: A Buddhist supports it.", 0),
        ("(A) Support", 0),
        ("A", 0),
        ("A\nIt helps people.", 0),
        ("**A**", 0),
        ("A, since it helps people.", 0),
        ("I would not be able to support it", None),
        ("I would not, under any circumstances, support it.", None),
        ("I don’t think that honesty would ever oppose it.", None),
        ("Nobody who is honest could support it.", None),
        ("It supports it not at all.", None),
        ("It supports nothing of the kind.", None),
        ("Honesty is unable to support this.", None),
        ("The church refuses to support this.", None),
        ("It neither supports nor opposes it.", None),
        ("I would not choose B.", None),
        ("It does not depend on me. It opposes lying.", 1),
        ("It is not easy, but honesty supports it.", 0),
        ("No, it opposes this.", 1),
        ("It harms no one, so it supports this.", 0),
        ("It depends on whether or not somebody is hurt.", 2),
        ("It not only allows but supports this.", 0),
    ],
)
def test_a_stance_is_told_from_words_or_not_at_all(answer: str, stance: int | None) -> None:
    assert stance_of(answer) == stance
