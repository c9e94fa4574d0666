"""What the rules of social choice promise, known examples, and what other implementations say of the same ballots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.societal.choice import ChoiceName, ChoiceRule, choice_rules
from modular_pluralism.societal.places import Places
from modular_pluralism.societal.table import Floats, Table
from tests.societal_oracle import BEST, CASES, asked
from tests.societal_tables import FEWER, a_table, of_orders, tables

RULES = choice_rules()
EVERY = pytest.mark.parametrize("name", RULES)
ASKED = asked()


def places(name: ChoiceName, table: Table, rules: Any = RULES) -> list[int]:
    found: list[int] = rules[name].places(table.filled(), table.weights[None, :])[0].tolist()
    return found


def every(table: Table) -> dict[ChoiceName, list[int]]:
    return {name: places(name, table) for name in RULES}


def best(name: ChoiceName, table: Table) -> str:
    """The winners' names, all that are level."""
    return "".join(letter for letter, place in zip(table.candidates, places(name, table), strict=True) if not place)


def changed(table: Table, scores: Floats, weights: Floats | None = None) -> Table:
    weights = table.weights if weights is None else weights
    return a_table(scores.tolist(), weights.tolist())


@FEWER
@given(tables(gaps=True), st.data())
def test_names_and_the_order_of_candidates_do_not_matter_but_for_ties(table: Table, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(table.candidates))))
    turned = changed(table, table.scores[:, order])
    for name in RULES:
        expected = [places(name, table)[at] for at in order]
        assert places(name, turned) == expected, name


@FEWER
@given(tables(gaps=True), st.data())
def test_it_does_not_matter_who_a_member_is(table: Table, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(table.members))))
    turned = changed(table, table.scores[order], table.weights[order])
    assert every(turned) == every(table)


@FEWER
@given(tables(), st.sampled_from([1e-3, 0.3, 7.0, 1e6]))
def test_the_unit_of_the_weights_does_not_matter(table: Table, unit: float) -> None:
    assert every(replace(table, weights=table.weights * unit)) == every(table)


@FEWER
@given(tables(members=4))
def test_a_member_of_the_weight_2_is_two_of_the_weight_1(table: Table) -> None:
    twice = changed(table, np.concatenate([table.scores] * 2), np.concatenate([table.weights] * 2))
    whole = replace(table, weights=np.ceil(table.weights))
    clones = np.repeat(np.arange(len(table.members)), whole.weights.astype(int))
    assert every(changed(table, table.scores[clones], np.ones(len(clones)))) == every(whole)
    assert every(twice) == every(table)


@FEWER
@given(tables(members=4), tables(members=2, candidates=1))
def test_a_member_without_a_weight_counts_for_nothing(table: Table, other: Table) -> None:
    silent = np.tile(other.scores, (1, len(table.candidates)))
    silent[:, 0] = 0
    scores = np.concatenate([silent, table.scores])
    weights = np.concatenate([np.zeros(len(silent)), table.weights])
    assert every(changed(table, scores, weights)) == every(table)


@FEWER
@given(tables(least=2), st.data())
def test_a_winner_that_a_member_likes_more_stays_a_winner(table: Table, data: st.DataObject) -> None:
    member = data.draw(st.integers(0, len(table.members) - 1))
    lift = data.draw(st.integers(0, 10)) / 10
    for name in RULES:
        winner = places(name, table).index(0)
        scores = table.scores.copy()
        scores[member, winner] = max(scores[member, winner], lift)
        assert places(name, changed(table, scores))[winner] == 0, name


@FEWER
@given(tables(least=2))
def test_no_winner_is_worse_for_everybody_than_another_candidate(table: Table) -> None:
    for name in RULES:
        for winner in np.flatnonzero(np.array(places(name, table)) == 0):
            assert not (table.scores > table.scores[:, [winner]]).all(axis=0).any(), name


@FEWER
@given(tables(least=2))
def test_winners_are_efficient_where_the_rule_promises_it(table: Table) -> None:
    names: tuple[ChoiceName, ...] = ("utilitarian", "nash", "leximin", "borda")
    for name in names:
        for winner in np.flatnonzero(np.array(places(name, table)) == 0):
            own = table.scores[:, [winner]]
            better = (table.scores >= own).all(axis=0) & (table.scores > own).any(axis=0)
            assert not better.any(), name


@FEWER
@given(tables(least=2))
def test_leximin_decides_where_maximin_does_not(table: Table) -> None:
    assert set(best("leximin", table)) <= set(best("maximin", table))


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.assumes == "nothing"])
@FEWER
@given(table=tables(), power=st.sampled_from([0.2, 0.5, 3.0]))
def test_what_assumes_nothing_of_the_numbers_sees_only_orders(name: ChoiceName, table: Table, power: float) -> None:
    assert places(name, changed(table, table.scores**power)) == places(name, table)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("utilitarian", lambda scores, own: scores / 4 + own / 2),  # another zero each, the same unit
        ("nash", lambda scores, own: scores * (0.3 + own / 2)),  # another unit each, the same zero
        ("maximin", lambda scores, own: scores**3),  # any change that is the same for all
        ("leximin", lambda scores, own: scores**3),
        ("slate", lambda scores, own: scores**3),
    ],
)
@FEWER
@given(table=tables())
def test_each_rule_assumes_no_more_than_it_says(name: ChoiceName, change: Any, table: Table) -> None:
    own = np.linspace(0, 1, len(table.members))[:, None]
    assert places(name, changed(table, change(table.scores, own))) == places(name, table)


@FEWER
@given(tables(least=2))
def test_schulze_elects_who_wins_every_comparison_in_pairs(table: Table) -> None:
    preferred = table.scores[:, :, None] > table.scores[:, None, :]
    votes = np.round(np.tensordot(table.weights, preferred, 1), 9)
    wins = votes > votes.T
    beats_all = [at for at in range(len(votes)) if wins[at].sum() == len(votes) - 1]
    if beats_all:
        assert best("schulze", table) == table.candidates[beats_all[0]]


@FEWER
@given(tables(least=2, candidates=4), st.data())
def test_a_clone_changes_nothing_for_schulze(table: Table, data: st.DataObject) -> None:
    cloned = data.draw(st.integers(0, len(table.candidates) - 1))
    clone = np.maximum(0, table.scores[:, [cloned]] - data.draw(st.sampled_from([0.01, 0.0])))
    before = set(best("schulze", table))
    after = set(best("schulze", changed(table, np.concatenate([table.scores, clone], axis=1))))
    clones = {table.candidates[cloned], "ABCDE"[len(table.candidates)]}
    assert after - clones == before - clones
    assert bool(after & clones) == bool(before & clones)


def test_a_clone_changes_the_winner_of_borda_and_not_of_schulze() -> None:
    two, three = of_orders({"AB": 3, "BA": 2}), of_orders({"ABC": 3, "BCA": 2})
    assert best("borda", two) == best("schulze", two) == best("schulze", three) == "A"
    assert best("borda", three) == "B"


def test_schulze_of_his_own_example() -> None:
    # Schulze, A New Monotonic, Clone-Independent, … Single-Winner Election Method (2011), example 1.
    orders = {"ACBED": 5, "ADECB": 5, "BEDAC": 8, "CABED": 3, "CAEBD": 7, "CBADE": 2, "DCEBA": 7, "EBADC": 8}
    assert places("schulze", of_orders(orders)) == [1, 3, 2, 4, 0]


def test_condorcets_paradox_is_a_tie() -> None:
    cycle = of_orders({"ABC": 1, "BCA": 1, "CAB": 1})
    assert best("schulze", cycle) == best("borda", cycle) == "ABC"


def test_nash_lies_between_the_sum_and_the_worst_off() -> None:
    table = a_table([[0.9, 0.5, 0.35], [0.9, 0.6, 0.4], [0.1, 0.3, 0.36]])
    assert [best(name, table) for name in ("utilitarian", "nash", "maximin")] == ["A", "B", "C"]


def test_where_nobody_serves_all_nash_serves_the_most_first() -> None:
    table = a_table([[1.0, 0.2, 0.0], [1.0, 0.2, 0.0], [0.0, 0.2, 1.0], [0.0, 0.0, 1.0]])
    assert best("nash", table) == "B"
    assert places("nash", a_table([[0.0, 0.0], [0.0, 0.0]])) == [0, 0]


def test_leximin_counts_by_weight_who_is_as_badly_off() -> None:
    scores = [[0.2, 0.2, 0.9], [0.2, 0.8, 0.2], [0.9, 0.9, 0.2]]
    assert best("leximin", a_table(scores)) == "B"
    assert best("leximin", a_table([row[1:] for row in scores], [3, 1, 1])) == "B"
    assert best("maximin", a_table(scores)) == "ABC"


@pytest.mark.parametrize(("size", "winner"), [(1, "C"), (2, "B"), (4, "A")])
def test_a_slate_begins_with_what_a_part_likes_the_most(size: int, winner: str) -> None:
    table = a_table([[1.0, 0.5, 0.4], [0.0, 0.7, 0.4], [0.3, 0.2, 0.4], [0.2, 0.3, 0.4]])
    rule = choice_rules(size)["slate"]
    assert table.candidates[rule.winners(table.filled(), table.weights[None, :])[0]] == winner


@EVERY
def test_many_weightings_at_once_are_each_as_alone(name: ChoiceName, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(7)
    scores = np.round(draw.random((9, 6)), 1)
    weights = draw.integers(0, 3, (50, 9)).astype(float)
    weights[:, 0] = 1
    rule: ChoiceRule = RULES[name]
    alone: list[Places] = [rule.places(scores, each[None, :])[0] for each in weights]
    assert np.array_equal(rule.places(scores, weights), alone)
    monkeypatch.setattr("modular_pluralism.societal.choice._BLOCK", 200)
    assert np.array_equal(rule.places(scores, weights), alone)
    assert rule.places(scores, weights[:0]).shape == (0, 6)


def test_every_rule_says_what_it_assumes_and_what_weights_do() -> None:
    for name, rule in RULES.items():
        assert rule.name == name
        assert all(sentence.endswith(".") for sentence in (rule.chooses, rule.weighs))
    assert {name for name, rule in RULES.items() if rule.assumes == "nothing"} == {"borda", "schulze"}


def test_other_implementations_agree() -> None:
    assert len(ASKED["cases"]) == CASES
    for case in ASKED["cases"]:
        table = a_table((np.array(case["scores"]) / BEST).tolist(), case["weights"])
        expected = dict(case["places"])
        assert best("schulze", table) == "".join(table.candidates[at] for at in expected.pop("schulze winners"))
        assert {name: places(name, table) for name in expected} == expected


def test_habermas_machine_ranks_the_same() -> None:
    for case in ASKED["cases"]:
        theirs = case["unweighted schulze"]
        assert places("schulze", a_table((np.array(case["scores"]) / BEST).tolist())) == theirs
