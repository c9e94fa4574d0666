"""Baselines that call no model, against plain counting."""

from __future__ import annotations

from typing import Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.evaluation.data.items import OptionItem, ValueItem
from modular_pluralism.evaluation.statistics.training_free import BASELINES, Baseline, TrainingFree
from modular_pluralism.option_math import normalise


def option_item(gold: list[float], id: int = 0) -> OptionItem:
    options = tuple(f"option {place}" for place in range(len(gold)))
    return OptionItem(id, f"Tea {id}?", options, "Kenya", tuple(gold), None, True)


def value_item(label: str, id: int = 0) -> ValueItem:
    return ValueItem(id, "lying", "Honesty", cast(Literal["A", "B", "C"], label), "lying?", None)


def accuracy(known: TrainingFree, items: list[ValueItem]) -> float:
    right = 0
    for item in items:
        predicted = known.predict("majority", item)
        assert predicted is not None
        right += predicted["ABC".index(item.label)] == 1
    return right / len(items)


@pytest.mark.parametrize(("labels", "right"), [("ABC" * 100, 1 / 3), ("AB" * 50, 1 / 2), ("A" * 3 + "B" * 7, 0.7)])
def test_the_majority_is_right_as_often_as_its_stance_is_even_in_a_tie(labels: str, right: float) -> None:
    items = [value_item(label, id) for id, label in enumerate(labels)]
    assert accuracy(TrainingFree(items), items) == pytest.approx(right)


golds = st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(any).map(normalise), min_size=2, max_size=8)


@given(golds, st.sampled_from(BASELINES), st.integers(0, 7))
def test_baselines_equal_plain_counting(shares: list[list[float]], name: Baseline, place: int) -> None:
    items = [option_item(gold, id) for id, gold in enumerate(shares)]
    mine = items[place % len(items)]
    known = TrainingFree([*items, option_item([0.5, 0.5])])
    found = known.predict(name, mine)
    if name == "mean":
        others = [item for item in items if item is not mine]
        plain = [sum(item.gold[each] for item in others) / len(others) for each in range(3)]
        all_of_them = [sum(item.gold[each] for item in items) / len(items) for each in range(3)]
        assert known.predict(name, mine, itself=True) == pytest.approx(all_of_them, abs=1e-9)
    elif name == "majority":
        modes = [item.gold.index(max(item.gold)) for item in items]
        most = max(range(3), key=lambda each: (modes.count(each), -each))
        plain = [float(each == most) for each in range(3)]
    else:
        plain = [1 / 3] * 3
    assert found == pytest.approx(plain, abs=1e-9)


def test_the_only_item_with_so_many_options_has_no_majority_and_no_mean() -> None:
    items = [option_item([0.9, 0.1]), option_item([0.2, 0.8]), option_item([0.1, 0.2, 0.7])]
    known = TrainingFree(items)
    assert known.predict("majority", items[2]) is None
    assert known.predict("mean", items[2]) is None
    assert known.predict("uniform", items[2]) == pytest.approx([1 / 3] * 3)
