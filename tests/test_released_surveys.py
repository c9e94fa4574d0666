"""Survey data in the formats of its releases: GlobalOpinionQA, SubPOP, OpinionQA."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.errors import TrainingDataError
from modular_pluralism.records.rows import read_rows
from modular_pluralism.records.survey import SurveyItem, survey_items


def items(path: Path) -> list[SurveyItem]:
    return survey_items(read_rows(path))


def write_csv(path: Path, *rows: dict[str, Any]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


GLOBAL: dict[str, Any] = {
    "question": "Is tea good?",
    "selections": "defaultdict(<class 'list'>, {'Spain': [0.25, 0.74], 'Kenya (Non-national sample)': [0.5, 0.5]})",
    "options": "['Yes, it is', \"No, it isn't\"]",
    "source": "GAS",
}


def test_global_opinion_qa_has_a_row_for_each_country(tmp_path: Path) -> None:
    spain, kenya = items(write_csv(tmp_path / "global_opinions.csv", GLOBAL))
    assert spain.options == ("Yes, it is", "No, it isn't")
    assert spain.attribute == "Spain"
    assert spain.distribution == pytest.approx((0.25 / 0.99, 0.74 / 0.99))
    assert kenya.attribute == "Kenya"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"selections": "defaultdict(<class 'list'>, {'Spain': [0.25]})"}, "row 1, Spain: there are not 2 shares"),
        ({"selections": "__import__('os').system('false')"}, "selections is no dict"),
        ({"selections": "{" * 100_000}, "selections is no dict"),
        ({"selections": "{'Spain': [2, 3]}"}, "the shares sum to 5"),
        ({"selections": "{'Spain': [1e999, 0]}"}, "no share or count"),
        ({"options": "Yes, No"}, "no list under 'options'"),
    ],
)
def test_rows_of_it_that_cannot_be_read_are_named(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(TrainingDataError, match=said):
        read_rows(write_csv(tmp_path / "global_opinions.csv", GLOBAL | changed))


def test_subpop_leaves_out_those_who_refused(tmp_path: Path) -> None:
    row = {
        "qkey": "CARS1",
        "question": "Is tea good?",
        "options": ["Yes", "No", "Refused"],
        "responses": [0.3, 0.7],
        "attribute": "RELIG",
        "group": "Atheist",
        "refusal_rate": 0.01,
    }
    path = tmp_path / "subpop.json"
    path.write_text(json.dumps([row, row | {"group": "Hindu", "responses": [0.6, 0.4]}]))
    assert items(path) == [
        SurveyItem("Is tea good?", ("Yes", "No"), "Atheist (religion)", (0.3, 0.7)),
        SurveyItem("Is tea good?", ("Yes", "No"), "Hindu (religion)", (0.6, 0.4)),
    ]


def test_opinion_qa_counts_become_shares_of_each_group(tmp_path: Path) -> None:
    data = {
        "CARS1_W27": {
            "MC_options": ["A lot", "A little", "Refused"],
            "question_text": "How much have you heard?",
            "18-29": {"A little": 30.0, "A lot": 10.0, "Refused": 5.0},
            "65+": {"A lot": 7.0},
            "nan": {},
        },
        # The release splits options at their commas; the counts have them whole.
        "CARS10A_W27": {
            "MC_options": ["Yes", "likely", "No", "not likely", "Refused"],
            "question_text": "Will they?",
            "18-29": {"No, not likely": 1.0, "Yes, likely": 3.0},
        },
    }
    path = tmp_path / "AGE_data.json"
    path.write_text(json.dumps(data))
    assert items(path) == [
        SurveyItem("How much have you heard?", ("A lot", "A little"), "18-29 (age)", (0.25, 0.75)),
        SurveyItem("How much have you heard?", ("A lot", "A little"), "65+ (age)", (1.0, 0.0)),
        SurveyItem("Will they?", ("No, not likely", "Yes, likely"), "18-29 (age)", (0.25, 0.75)),
    ]


def test_opinion_qa_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "AGE_data.json"
    path.write_text('{"a": {"question_text": "Why?", "18-29": {"Yes": "many"}}}')
    with pytest.raises(TrainingDataError, match="question a: 'many' is no share or count"):
        read_rows(path)
    path.write_text('{"a": {"text": "Why?"}}')
    with pytest.raises(TrainingDataError, match="not a list of rows"):
        read_rows(path)
