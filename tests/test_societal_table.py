"""From ballots to a table, and what is done with scores that are missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from modular_pluralism.errors import InputError
from modular_pluralism.societal.table import NORMALISERS, Table, table_of
from tests.societal_tables import FEWER, a_ballot, a_table, tables


def test_ballots_become_rows_and_columns() -> None:
    ballots = [
        a_ballot("farmers", "merge", 0.5),
        a_ballot("farmers", "base", 0.25),
        a_ballot("words", "merge", None, kind="verifier", rule="short"),
        a_ballot("ann", "base", 1.0, kind="person"),
    ]
    table = table_of(ballots, weights={"farmers": 2.0, "absent": 9.0})
    assert (table.members, table.candidates) == (("farmers", "ann"), ("merge", "base"))
    assert np.array_equal(table.scores, [[0.5, 0.25], [np.nan, 1.0]], equal_nan=True)
    assert table.weights.tolist() == [2.0, 1.0]
    assert table_of(ballots, candidates=["base", "merge", "unjudged"]).scores[1].tolist()[0] == 1.0


@pytest.mark.parametrize(
    ("ballots", "says"),
    [
        ([], "Nobody has judged a candidate"),
        ([a_ballot("words", "merge", None, kind="verifier", rule="short")], "Nobody has judged a candidate"),
        ([a_ballot("ann", "base", 1.5)], "ann gives 'base' the score 1.5; give a number from 0 to 1"),
        ([a_ballot("ann", "base", float("nan"))], "ann gives 'base' the score nan"),
        ([a_ballot("ann", "base", None)], "ann gives 'base' the score None"),
        ([a_ballot("ann", "base", 0.5), a_ballot("ann", "base", 0.5)], "ann has judged 'base' twice"),
        ([a_ballot("ann", "other", 0.5)], "ann has judged 'other'; the candidates are base, merge"),
    ],
)
def test_ballots_that_cannot_be_are_refused(ballots: list, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=says):
        table_of(ballots, candidates=["base", "merge"])


@pytest.mark.parametrize(
    ("scores", "weights", "says"),
    [
        ([[1, 0], [None, None]], [1, 1], "b has judged no candidate"),
        ([[1, 0]], [-1], "a has the weight -1"),
        ([[1, 0]], [float("inf")], "a has the weight inf"),
        ([[1, 0]], [float("nan")], "a has the weight nan"),
        ([[1, 0], [0, 1]], [0, 0], "No member that gave a ballot has a weight above 0"),
        ([[1, -0.5]], [1], "a has a score of -0.5"),
        ([[1, 0]], [1, 1], r"weights \[2\]; give \[1, 2\] and \[1\]"),
    ],
)
def test_tables_that_cannot_be_are_refused(scores: list, weights: list, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=says):
        a_table(scores, weights)


def test_names_stand_once() -> None:
    with pytest.raises(InputError, match="The candidate 'x' is in the table twice"):
        Table(("a",), ("x", "x"), np.ones((1, 2)), np.ones(1))
    with pytest.raises(InputError, match="The member 'a' is in the table twice"):
        Table(("a", "a"), ("x",), np.ones((2, 1)), np.ones(2))


def test_what_is_missing_counts_as_the_mean_of_the_rest() -> None:
    assert a_table([[1.0, None, 0.5], [None, 0.3, None]]).filled().tolist() == [[1.0, 0.75, 0.5], [0.3, 0.3, 0.3]]


def test_normalising() -> None:
    table = a_table([[0.9, 0.5, 0.7, None], [0.2, 0.2, 0.2, 0.2], [None, None, 0.4, None], [0.1, 0.8, 0.8, 0.0]])
    ranges, ranks = table.normalised("range").scores, table.normalised("rank").scores
    assert ranges[0, :3] == pytest.approx([1, 0, 0.5])
    assert ranks[0, :3].tolist() == [1, 0, 0.5]
    assert ranks[1].tolist() == ranges[1].tolist() == [0.5] * 4
    assert (ranks[2, 2], ranges[2, 2]) == (0.5, 0.5)
    assert ranks[3] == pytest.approx([1 / 3, 5 / 6, 5 / 6, 0])
    assert np.isnan(ranks[0, 3])
    assert table.normalised("none") is table


@FEWER
@given(tables(gaps=True))
def test_normalised_scores_are_from_0_to_1_and_keep_each_order(table: Table) -> None:
    for normalise in NORMALISERS:
        changed = table.normalised(normalise)
        for before, after in zip(table.scores, changed.scores, strict=True):
            there = ~np.isnan(before)
            assert np.array_equal(there, ~np.isnan(after))
            assert np.array_equal(np.argsort(before[there], kind="stable"), np.argsort(after[there], kind="stable"))
        filled = changed.filled()
        assert np.isfinite(filled).all()
        assert 0 <= filled.min() <= filled.max() <= 1
