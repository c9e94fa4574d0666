"""Slates in which every part of the weight has a candidate that it likes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import InputError
from modular_pluralism.societal.slate import Slate, slate_of
from modular_pluralism.societal.table import Table
from tests.societal_tables import FEWER, a_table, tables


def test_groups_get_candidates_by_their_weight() -> None:
    # Two thirds like A and B, one third C; a majority would fill the slate with the former's.
    two, one = [1.0, 0.9, 0.8, 0.0, 0.1], [0.0, 0.1, 0.2, 1.0, 0.3]
    slate = slate_of(a_table([two, two, two, two, one, one]), 3)
    assert slate.candidates == ("A", "D", "B")
    assert slate.served == (("a", "b", "c", "d"), ("e", "f"), ("a", "b", "c", "d"))
    assert slate.unmet == ()
    assert slate_of(a_table([two, one], [4, 2]), 3).candidates == ("A", "D", "B")


def test_of_equal_parts_each_is_served() -> None:
    slate = slate_of(a_table([[1, 0, 0, 0.4], [0, 1, 0, 0.4], [0, 0, 1, 0.4]]), 3)
    assert set(slate.candidates) == {"A", "B", "C"}
    assert sorted(slate.served) == [("a",), ("b",), ("c",)]


def test_a_claim_that_is_left_unmet_is_told() -> None:
    # A is taken for a and b, then B for c and d; b and c would both rather have C.
    table = a_table([[0.9, 0.0, 0.0], [0.8, 0.0, 1.0], [0.1, 0.6, 0.7], [0.1, 0.6, 0.0]])
    slate = slate_of(table, 2)
    assert (slate.candidates, slate.served) == (("A", "B"), (("a", "b"), ("c", "d")))
    (claim,) = slate.unmet
    assert (claim.candidate, claim.members, claim.share) == ("C", ("b", "c"), 0.5)


@pytest.mark.parametrize("size", [0, 3, -1])
def test_a_slate_has_no_more_candidates_than_there_are(size: int) -> None:
    with pytest.raises(
        InputError, match=f"A slate of {size} cannot be made of 2 candidates; give a number from 1 to 2"
    ):
        slate_of(a_table([[1.0, 0.0]]), size)


def slates(table: Table, data: st.DataObject) -> tuple[int, Slate]:
    size = data.draw(st.integers(1, len(table.candidates)))
    return size, slate_of(table, size)


@FEWER
@given(tables(gaps=True), st.data())
def test_unmet_claims_are_all_that_there_are(table: Table, data: st.DataObject) -> None:
    size, slate = slates(table, data)
    scores, shares = table.filled(), table.weights / table.weights.sum()
    chosen = [table.candidates.index(name) for name in slate.candidates]
    claims: dict[str, float] = {}
    for at, name in enumerate(table.candidates):
        for count in range(1, len(shares) + 1):
            for group in map(list, combinations(range(len(shares)), count)):
                if shares[group].sum() >= 1 / size - 1e-9 and (scores[group, at] > scores[group][:, chosen].T).all():
                    claims[name] = max(claims.get(name, 0.0), float(shares[group].sum()))
    assert {claim.candidate: claim.share for claim in slate.unmet} == pytest.approx(claims)


@FEWER
@given(tables(), st.data())
def test_no_part_that_likes_a_candidate_much_is_served_with_less_only(table: Table, data: st.DataObject) -> None:
    # Balanced justified representation (Fish et al.), for candidates that are not in the slate.
    size, slate = slates(table, data)
    shares = table.weights / table.weights.sum()
    served = np.full(len(shares), -1.0)
    for name, members in zip(slate.candidates, slate.served, strict=True):
        for at in map(table.members.index, members):
            served[at] = max(served[at], table.scores[at, table.candidates.index(name)])
    assert (served >= 0).all()
    for at in set(range(len(table.candidates))) - {table.candidates.index(name) for name in slate.candidates}:
        for level in np.unique(table.scores[:, at]):
            left_out = (table.scores[:, at] >= level) & (served < level)
            assert shares[left_out].sum() < 1 / size - 1e-9


@FEWER
@given(tables(), st.data())
def test_a_slate_is_of_different_candidates(table: Table, data: st.DataObject) -> None:
    size, slate = slates(table, data)
    assert len(set(slate.candidates)) == size == len(slate.served)
