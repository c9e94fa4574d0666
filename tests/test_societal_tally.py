"""The account of a choice, and what the choice hangs on."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from modular_pluralism.errors import InputError
from modular_pluralism.societal.choice import ChoiceName, SummedRule, choice_rules
from modular_pluralism.societal.sensitivity import MOST_CANDIDATES, could_gain, pivotal, smallest_flip
from modular_pluralism.societal.table import Normalise, Table
from modular_pluralism.societal.tally import Tally, tally
from tests.societal_tables import FEWER, a_table, tables

RULES = choice_rules()
EVERY = pytest.mark.parametrize("name", RULES)
EXACT = [name for name, rule in RULES.items() if isinstance(rule, SummedRule) or name == "maximin"]
NORMALISE = st.sampled_from(["none", "range", "rank"])


def winner(name: ChoiceName, table: Table) -> str:
    return table.candidates[int(RULES[name].winners(table.filled(), table.weights[None, :])[0])]


def test_the_account_of_a_choice() -> None:
    table = a_table([[0.9, 0.5, 0.35, None], [0.9, 0.6, 0.4, 0.0], [0.1, 0.3, 0.36, 0.1]], [1, 1, 1])
    found = tally(table)
    assert found["winner"] == "B"
    assert found["winners"] == {
        "utilitarian": "A",
        "nash": "B",
        "maximin": "C",
        "leximin": "C",
        "borda": "A",
        "schulze": "A",
        "slate": "A",
    }
    assert found["ranking"] == ["B", "A", "C", "D"]
    assert found["tied"] == []
    assert found["pareto"] == ["A", "B", "C"]
    assert found["scores"][0] == [0.9, 0.5, 0.35, None]
    assert found["used"][0] == pytest.approx([0.9, 0.5, 0.35, 1.75 / 3])
    assert found["worst_off"] == {"member": "c", "score": 0.3}
    assert found["price_of_fairness"] == pytest.approx(1 - 1.4 / 1.9)
    assert found["gini"] == pytest.approx((0.1 + 0.2 + 0.3) * 2 / 9 / (2 * 1.4 / 3))
    assert found["pivotal"] == [{"member": "c", "winner": "A"}]
    assert found["slate"]["candidates"] == ["A", "B", "C"]


def test_a_tie_goes_to_the_first_candidate_and_is_told() -> None:
    found = tally(a_table([[0.5, 1.0, 0.0], [0.5, 0.0, 1.0]]), "utilitarian")
    assert (found["winner"], found["tied"]) == ("A", ["A", "B", "C"])
    flip = found["flip"]
    assert flip == {"member": "a", "weight": 1.0, "to": 1.0, "winner": "B", "precision": 0.0}


def test_of_one_candidate_and_of_one_member_all_is_told() -> None:
    one = tally(a_table([[0.5], [0.0]]))
    assert (one["winner"], one["ranking"], one["pareto"], one["pivotal"], one["flip"]) == ("A", ["A"], ["A"], [], None)
    assert one["could_gain"] == []
    alone = tally(a_table([[0.2, 0.7]], [4]))
    assert (alone["winner"], alone["gini"], alone["flip"]) == ("B", 0.0, None)
    assert alone["pivotal"] == [{"member": "a", "winner": None}]
    nothing = tally(a_table([[0.0, 0.0], [0.0, 0.0]]), "utilitarian")
    assert (nothing["gini"], nothing["price_of_fairness"], nothing["tied"]) == (0.0, 0.0, ["A", "B"])


def test_members_without_a_weight_are_shown_and_count_for_nothing() -> None:
    found = tally(a_table([[0.2, 0.3], [1.0, 0.0]], [1, 0]), "maximin")
    assert found["members"] == ["a", "b"]
    assert (found["winner"], found["worst_off"]["member"], found["pareto"]) == ("B", "a", ["B"])
    assert found["flip"] == {"member": "b", "weight": 0.0, "to": 0.0, "winner": "A", "precision": 0.0}
    assert [each["member"] for each in found["pivotal"]] == ["a"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"rule": "majority"}, "'majority' is no rule to choose by; give one of utilitarian, nash"),
        ({"normalise": "zscore"}, "'zscore' is no way to normalise; give one of none, range, rank"),
        ({"slate": 3}, "A slate of 3 cannot be made of 2"),
        ({"slate": 0}, "A slate of 0 cannot be made of 2"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict, says: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=says):
        tally(a_table([[0.2, 0.3]]), **wrong)


@FEWER
@given(tables(gaps=True), st.sampled_from(list(RULES)), NORMALISE)
def test_a_tally_is_json_and_fits_together(table: Table, rule: ChoiceName, normalise: Normalise) -> None:
    found = tally(table, rule, normalise)
    TypeAdapter(Tally).validate_json(json.dumps(found, allow_nan=False))
    assert found["winner"] == found["winners"][rule] == found["ranking"][0]
    assert sorted(found["ranking"]) == sorted(table.candidates)
    assert set(found["pareto"]) <= set(table.candidates)
    assert found["pareto"]
    assert 0 <= found["gini"] < 1
    assert 0 <= found["price_of_fairness"] <= 1
    assert found["winners"]["utilitarian"] in found["pareto"]


@EVERY
def test_pivotal_is_without_whom_another_wins(name: ChoiceName) -> None:
    table = _of_seed(1)
    expected = {}
    for at, member in enumerate(table.members):
        left = [place for place in range(len(table.members)) if place != at]
        other = winner(name, a_table(table.scores[left].tolist(), table.weights[left].tolist()))
        if other != winner(name, table):
            expected[member] = other
    assert {each.member: each.winner for each in pivotal(table, RULES[name])} == expected


@settings(max_examples=60)
@given(tables(members=4, candidates=4), st.sampled_from(["utilitarian", "nash", "borda"]))
def test_the_smallest_flip_is_exact_where_the_rule_sums(table: Table, name: ChoiceName) -> None:
    assert isinstance(RULES[name], SummedRule)
    flip = smallest_flip(table, RULES[name])
    reach = 20.0 if flip is None else abs(flip.to - flip.weight)
    before = winner(name, table)
    for at in range(len(table.members)):
        for share in (0.02, 0.3, 0.7, 0.98):
            for change in (-share * reach, share * reach):
                if table.weights[at] + change >= 0 and (len(table.members) > 1 or table.weights[at] + change > 0):
                    assert winner(name, _weighing(table, at, table.weights[at] + change)) == before
    if flip is not None:
        at = table.members.index(flip.member)
        beyond = flip.to + 1e-6 * (np.sign(flip.to - flip.weight) or _direction(name, table, flip.member))
        assert winner(name, _weighing(table, at, max(0.0, beyond))) == flip.winner != before


@EVERY
def test_at_the_smallest_flip_another_wins(name: ChoiceName) -> None:
    flips = 0
    for seed in range(6):
        table = _of_seed(seed)
        flip, before = smallest_flip(table, RULES[name]), winner(name, table)
        if flip is None:
            assert not pivotal(table, RULES[name])
            continue
        flips += 1
        at, way = table.members.index(flip.member), float(np.sign(flip.to - flip.weight))
        beyond, short = flip.to + 1e-7 * way, flip.to - (2 * flip.precision + 1e-7) * way
        assert winner(name, _weighing(table, at, max(0.0, beyond))) == flip.winner != before
        assert winner(name, _weighing(table, at, short)) == before
        assert flip.precision == pytest.approx(0 if name in EXACT else 1e-6 * table.weights.sum())
        for each in pivotal(table, RULES[name]):
            assert abs(flip.to - flip.weight) <= table.weights[table.members.index(each.member)]
    assert flips > 2


def test_where_all_agree_no_weight_flips_the_winner() -> None:
    table = a_table([[0.9, 0.1, 0.2], [0.8, 0.1, 0.7], [0.9, 0.5, 0.3]])
    assert all(smallest_flip(table, rule) is None for rule in RULES.values())
    assert all(pivotal(table, rule) == [] for rule in RULES.values())
    assert all(could_gain(table, rule) == [] for rule in RULES.values())


@EVERY
@pytest.mark.parametrize("normalise", ["none", "range", "rank"])
def test_who_could_gain_by_a_false_ballot(name: ChoiceName, normalise: Normalise) -> None:
    gained = 0
    for seed in range(8):
        table = _of_seed(seed, members=4, candidates=3)
        orders = list(permutations([0.0, 0.5, 1.0])) if RULES[name].assumes == "nothing" else None
        ballots = orders or list(product([0.0, 1.0], repeat=3))
        before = winner(name, table.normalised(normalise))
        expected: dict[str, float] = {}
        for at, member in enumerate(table.members):
            true = dict(zip(table.candidates, table.scores[at].tolist(), strict=True))
            for ballot in ballots:
                scores = table.scores.copy()
                scores[at] = ballot
                after = winner(name, replace(table, scores=scores).normalised(normalise))
                gain = true[after] - true[before]
                if gain > expected.get(member, 0.0) + 1e-9:
                    expected[member] = gain
        found = could_gain(table, RULES[name], normalise)
        assert found is not None
        assert {each.member: each.gain for each in found} == pytest.approx(expected)
        gained += len(found)
    assert gained or normalise != "none"


def test_of_many_candidates_no_false_ballots_are_tried() -> None:
    assert could_gain(_of_seed(0, candidates=MOST_CANDIDATES + 1), RULES["nash"]) is None
    assert tally(_of_seed(0, candidates=MOST_CANDIDATES + 1))["could_gain"] is None


def _of_seed(seed: int, *, members: int = 6, candidates: int = 4) -> Table:
    draw = np.random.default_rng(seed)
    return a_table(draw.random((members, candidates)).tolist(), draw.integers(1, 4, members).tolist())


def _weighing(table: Table, at: int, to: float) -> Table:
    weights = table.weights.copy()
    weights[at] = to
    return replace(table, weights=weights)


def _direction(name: ChoiceName, table: Table, member: str) -> float:
    """Which way the least change of a member's weight breaks a tie."""
    at = table.members.index(member)
    up = winner(name, _weighing(table, at, table.weights[at] + 1e-6))
    return 1.0 if up != winner(name, table) else -1.0
