"""What an assembly does not know, told apart."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given

from modular_pluralism.societal.table import Table, table_of
from modular_pluralism.societal.uncertainty import Uncertainty, uncertainty
from modular_pluralism.types import Ballot
from tests.societal_tables import FEWER, a_ballot, tables


def read(scores: dict[str, list[float]], *, label_mass: float = 0.9, spread: float = 0.05) -> list[Ballot]:
    return [
        a_ballot(member, letter, score, label_mass=label_mass, spread=spread)
        for member, row in scores.items()
        for letter, score in zip("ABC", row, strict=False)
    ]


def said(ballots: list[Ballot], **weights: float) -> Uncertainty:
    return uncertainty(table_of(ballots, weights=weights), ballots)


SURE = [0.9, 0.05, 0.05]
OTHER = [0.05, 0.9, 0.05]


@pytest.mark.parametrize(
    ("scores", "reading", "words"),
    [
        (
            {"a": SURE, "b": SURE, "c": SURE, "d": SURE, "e": OTHER, "f": OTHER},
            {"label_mass": 0.3},
            "4 of 6 agree; each is fairly sure; the reading is weak",
        ),
        ({"a": SURE, "b": SURE}, {"spread": 0.4}, "all 2 agree; each is fairly sure; the reading is weak"),
        ({"a": SURE, "b": OTHER}, {}, "none of 2 agree; each is fairly sure; the reading is steady"),
        (
            {"a": SURE, "b": SURE, "c": [0.4, 0.3, 0.3]},
            {},
            "all 3 agree; 2 of 3 are fairly sure; the reading is steady",
        ),
        ({"a": [0.4, 0.3, 0.3], "b": [0.3, 0.4, 0.3]}, {}, "none of 2 agree; none is sure; the reading is steady"),
        ({"a": SURE}, {}, "one member alone was heard; it is fairly sure; the reading is steady"),
        ({"a": [0.7], "b": [0.2]}, {}, "there is one candidate only; the reading is steady"),
    ],
)
def test_in_words(scores: dict[str, list[float]], reading: dict[str, float], words: str) -> None:
    assert said(read(scores, **reading))["words"] == words


def test_the_three_are_told_apart() -> None:
    quarrel = said(read({"a": [1.0, 0.0], "b": [0.0, 1.0]}))
    assert quarrel["between"] == pytest.approx(math.log(2))
    assert quarrel["within"] == 0
    doubt = said(read({"a": [0.5, 0.5], "b": [0.5, 0.5]}, spread=0.3))
    assert doubt["between"] == 0
    assert doubt["within"] == pytest.approx(1)
    assert doubt["instrument"] == pytest.approx({"spread": 0.3, "label_mass": 0.9})


def test_weights_count_and_those_without_do_not() -> None:
    ballots = read({"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.5, 0.5]})
    assert said(ballots, c=0.0) == said(ballots, c=0.0) | {"of": 2, "within": 0.0}
    assert said(ballots, a=2.0)["within"] == pytest.approx(0.25)


def test_persons_are_not_in_doubt_and_nothing_is_read_from_them() -> None:
    ballots = [a_ballot(name, letter, 0.5, kind="person") for name in "ab" for letter in "AB"]
    found = said(ballots)
    assert found["within"] is None
    assert found["instrument"] == {"spread": None, "label_mass": None}
    assert found["words"] == "all 2 agree; nothing was read from a model"
    with_community = said([*ballots, *read({"c": [1.0, 0.0]})])
    assert with_community["within"] == 0.0


@FEWER
@given(tables(gaps=True))
def test_it_has_always_numbers(table: Table) -> None:
    ballots = [
        a_ballot(member, candidate, float(score))
        for member, row in zip(table.members, table.scores, strict=True)
        for candidate, score in zip(table.candidates, row, strict=True)
        if score == score
    ]
    found = uncertainty(table, ballots)
    json.dumps(found, allow_nan=False)
    assert 0 <= found["between"] <= math.log(max(1, len(table.candidates))) + 1e-9
    assert found["within"] is None or 0 <= found["within"] <= 1 + 1e-9
    assert 1 <= found["agree"] <= found["of"] == len(table.members)
