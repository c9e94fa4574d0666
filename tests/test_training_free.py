"""Baselines that call no model, against plain counting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.evaluation.data.items import OptionItem, ValueItem
from modular_pluralism.evaluation.statistics.training_free import BASELINES, NEAREST, Baseline, TrainingFree
from modular_pluralism.option_math import normalise
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.similarity import Lexical
from modular_pluralism.records.survey import SurveyItem
from tests.command import pluralism


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


def test_the_nearest_questions_are_others_than_the_item_s_own_whatever_the_number_of_options() -> None:
    def answered(question: str, *shares: float) -> SurveyItem:
        word = "option" if len(shares) == 2 else "choice"
        return SurveyItem(question, tuple(f"{word} {place}" for place in range(len(shares))), None, shares)

    record = CommunityRecord(
        [answered("Tea 0?", 0.0, 1.0), answered("Tea or milk?", 0.9, 0.1), answered("Tea with milk?", 0.2, 0.3, 0.5)],
        Lexical(),
    )
    known = TrainingFree([], record)
    assert known.predict(NEAREST, option_item([0.5, 0.5])) == pytest.approx([0.9, 0.1], abs=0.01)
    assert known.predict(NEAREST, option_item([0.2, 0.3, 0.5])) == pytest.approx([0.2, 0.3, 0.5])
    assert known.predict(NEAREST, option_item([0.25] * 4)) is None
    assert known.distance_group(option_item([0.5, 0.5])) in ("0.2 to 0.4", "0.4 to 0.6")
    assert known.distance_group(option_item([0.25] * 4)) is None
    assert TrainingFree([]).predict(NEAREST, option_item([0.5, 0.5])) is None


def test_a_report_has_the_nearest_questions_and_how_near_they_are(tmp_path: Path) -> None:
    items = [
        {
            **{"id": number, "question": f"Do you like tea {number}?", "options": ["Yes", "No"], "attribute": "Kenya"},
            **{"gold_distribution": [0.8, 0.2], "pred_distribution": [0.5, 0.5]},
        }
        for number in range(4)
    ]
    (tmp_path / "task.json").write_text(json.dumps(items))
    (tmp_path / "answers.jsonl").write_text(
        '{"question": "Do you like green tea?", "options": ["Yes", "No"], "distribution": [0.8, 0.2]}\n'
    )
    asked = ("score", str(tmp_path / "task.json"), "--json", "--answers", str(tmp_path / "answers.jsonl"))
    done = pluralism(*asked)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    rows = {row["name"]: row for row in results["tables"][0]["rows"]}
    assert rows["nearest questions"]["baseline"]
    assert rows["nearest questions"]["cells"]["js"]["value"] == pytest.approx(0, abs=1e-6)
    assert rows["uniform"]["cells"]["js"]["value"] > 0.2
    assert "By nearest answered question" in [table["title"] for table in results["tables"]]
    missing = pluralism(*asked[:-1], str(tmp_path / "none.csv"))
    assert missing.returncode == 2
    assert "There is no file" in missing.stderr
