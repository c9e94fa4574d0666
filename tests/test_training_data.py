"""Reading survey answers and texts, and choosing a community's rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.errors import TrainingDataError
from modular_pluralism.records.rows import Row, read_rows
from modular_pluralism.records.survey import SurveyItem, is_survey, survey_items
from modular_pluralism.training.conditions import Condition, choose, grouped
from modular_pluralism.training.split import split_by
from modular_pluralism.training.text_objective import texts_of

ROW: dict[str, Any] = {
    "question": "Question: Is tea good?\nOptions: A. Yes B. No\nAnswer:",
    "options": ["Yes", "No"],
    "attribute": "Spain (Current national sample)",
    "gold_distribution": [0.25, 0.75],
}
ITEM = SurveyItem("Is tea good?", ("Yes", "No"), "Spain", (0.25, 0.75))


def records(*rows: dict[str, Any]) -> list[Row]:
    return [Row(row, f"file, row {number}") for number, row in enumerate(rows, start=1)]


def refusal(*rows: dict[str, Any]) -> str:
    with pytest.raises(TrainingDataError) as caught:
        survey_items(records(*rows))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    match path.suffix:
        case ".json":
            path.write_text(json.dumps(rows))
        case ".jsonl":
            path.write_text("\n\n".join(map(json.dumps, rows)))
        case ".parquet":
            import pyarrow.parquet  # type: ignore[import-untyped]

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        case ".csv":
            with path.open("w", newline="", encoding="utf-8-sig") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                for row in rows:
                    lists = {key: json.dumps(value) for key, value in row.items() if isinstance(value, list)}
                    writer.writerow(row | lists)
    return path


@pytest.mark.parametrize("ending", ["json", "jsonl", "csv", "parquet"])
def test_every_format_gives_the_same_items(tmp_path: Path, ending: str) -> None:
    read = read_rows(write(tmp_path / f"survey.{ending}", [ROW, ROW | {"attribute": "Kenya"}]))
    assert is_survey(read)
    assert survey_items(read) == [ITEM, ITEM._replace(attribute="Kenya")]


def test_lists_in_csv_may_have_bars_between_their_entries() -> None:
    assert survey_items(records(ROW | {"options": "Yes|No", "gold_distribution": "0.25 | 0.75"})) == [ITEM]


def test_single_answers_are_added_up_by_question_and_population_with_their_weights() -> None:
    def answer(said: str, weight: float | str | None = None, **more: Any) -> dict[str, Any]:
        row = {"question": "Is tea good?", "options": ["Yes", "No"], "attribute": "Spain", "answer": said} | more
        return row if weight is None else row | {"weight": weight}

    items = survey_items(
        records(
            answer("Yes"),
            answer("b", "2"),
            answer("(B)"),
            answer("yes", attribute="Kenya"),
            answer("A", 2.0, options=["No", "Yes"]),  # the letter is that of the row's own order
        )
    )
    assert items[0].distribution == pytest.approx((1 / 6, 5 / 6))
    assert items[0].answers == 6
    assert items[1] == SurveyItem("Is tea good?", ("Yes", "No"), "Kenya", (1.0, 0.0), 1.0)


def test_bad_rows_are_refused_in_one_sentence_that_names_them() -> None:
    assert "row 2" in refusal(ROW, {"question": "Why?"})
    assert "options" in refusal(ROW | {"options": None})
    assert "2 to 26" in refusal(ROW | {"options": ["Yes"]})
    assert "twice" in refusal(ROW | {"options": ["Yes", "yes"]})
    assert "sums to 0.9" in refusal(ROW | {"gold_distribution": [0.2, 0.7]})
    assert "smallest share" in refusal(ROW | {"gold_distribution": [-0.5, 1.5]})
    assert "no finite number" in refusal(ROW | {"gold_distribution": ["half", 0.5]})
    assert "3 shares for 2" in refusal(ROW | {"gold_distribution": [0.2, 0.2, 0.6]})
    assert "differ from those of file, row 1" in refusal(
        ROW | {"question": "Why?"}, ROW | {"question": "Why?", "options": ["Yes", "Maybe"]}
    )
    single = {"question": "Why?", "options": ["Yes", "No"]}
    assert "neither a distribution nor an answer" in refusal(single)
    assert "none of the options" in refusal(single | {"answer": "C"})
    assert "below 0" in refusal(single | {"answer": "A", "weight": -1})
    assert "weight 0" in refusal(single | {"answer": "A", "weight": 0})
    assert "Every row says the same" in refusal(ROW, ROW)
    many = [single | {"answer": letter} for letter in "ABBA"]
    assert "All rows are answers to one question" in refusal(*many)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    def refused(name: str, content: bytes | None) -> str:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(TrainingDataError) as caught:
            read_rows(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no file" in refused("gone.csv", None)
    assert "no file" in refused("gone.parquet", None)
    assert "ending" in refused("survey.xlsx", b"")
    (tmp_path / "folder").mkdir()
    assert "is a folder; name the files in it" in refused("folder", None)
    assert "not JSON" in refused("a.json", b"[{]")
    assert "list of rows" in refused("b.json", b"{}")
    assert "row 1" in refused("c.json", b"[1]")
    assert "line 2" in refused("d.jsonl", b"{}\n{")
    assert "parquet" in refused("e.parquet", b"nothing")
    assert "UTF-8" in refused("f.csv", b"a\n\xff")
    assert "more or fewer fields" in refused("g.csv", b"a,b\n1\n")
    assert "no rows" in refused("h.csv", b"a,b\n")
    assert "no rows" in refused("i.txt", b"\n\n")


def test_paragraphs_of_a_plain_file_and_rows_with_text_are_texts(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("One\nletter.\n\n\nAnother.\n")
    assert texts_of(read_rows(tmp_path / "letters.txt")) == ["One\nletter.", "Another."]
    with pytest.raises(TrainingDataError, match="row 1"):
        texts_of(records({"words": "One"}))
    with pytest.raises(TrainingDataError, match="the same"):
        texts_of(records({"text": "One"}, {"text": "One"}))


def test_conditions_choose_rows_and_know_continents() -> None:
    rows = records(
        ROW,
        ROW | {"attribute": "Brazil"},
        ROW | {"attribute": "United States"},
        ROW | {"attribute": "Namibia", "age": 30},
        ROW | {"attribute": "nowhere"},
    )

    def chosen(*conditions: str) -> list[str]:
        return [row.fields["attribute"] for row in choose(rows, [Condition.parse(each) for each in conditions])]

    assert chosen("continent=europe") == [ROW["attribute"]]
    assert chosen("continent=South_America") == ["Brazil"]
    assert chosen("attribute=united states") == ["United States"]
    assert chosen("age=30", "continent=africa") == ["Namibia"]
    assert list(grouped(rows, "continent")) == ["Africa", "Europe", "North America", "South America"]
    with pytest.raises(TrainingDataError, match="there are Africa, Europe"):
        chosen("continent=atlantis")
    with pytest.raises(TrainingDataError, match="use one of question"):
        chosen("party=left")
    with pytest.raises(TrainingDataError, match="at once"):
        chosen("age=30", "continent=europe")
    with pytest.raises(TrainingDataError, match="FIELD=VALUE"):
        chosen("europe")


def test_the_split_is_by_question_and_by_seed() -> None:
    items = [ITEM._replace(question=f"Is  {n} good?" if m else f"is {n} GOOD?") for n in range(40) for m in range(3)]

    def split(seed: int, count: int = len(items)) -> tuple[set[str], set[str]]:
        train, held_out = split_by(items[:count], lambda item: item.question, 0.25, seed, what="questions")
        assert len(train) + len(held_out) == count
        assert 0.1 * count < len(held_out) < 0.4 * count
        numbers = [{item.question.split()[1] for item in side} for side in (train, held_out)]
        return numbers[0], numbers[1]

    train, held_out = split(1)
    assert not train & held_out
    assert split(1) == (train, held_out)
    assert split(2) != (train, held_out)
    few, few_held_out = split(1, 75)
    assert few <= train, "of fewer questions, each is on the same side"
    assert few_held_out <= held_out


def test_tiny_data_is_refused_unless_it_is_forced() -> None:
    few = [ITEM._replace(question=f"Is {n} good?") for n in range(19)]
    with pytest.raises(TrainingDataError, match="only 19 questions"):
        split_by(few, lambda item: item.question, 0.1, 0, what="questions")
    train, held_out = split_by(few, lambda item: item.question, 0.01, 0, what="questions", force=True)
    assert (len(train), len(held_out)) == (18, 1)
    with pytest.raises(TrainingDataError, match="only one"):
        split_by(few[:1], lambda item: item.question, 0.1, 0, what="questions", force=True)


def test_a_cell_of_csv_may_be_long(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text(f'question,options,answer\n"{"x" * 140_000}",A|B,A\nWhy?,A|B,B\n')
    assert len(str(read_rows(path)[0].fields["question"])) == 140_000
