"""The study of trained communities: whose rows are whose, what the tables say, and a whole small run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.study import __main__ as study
from benchmarks.study import training
from benchmarks.study.measuring import COMMENT, ONE, VOTE, Answers
from benchmarks.study.parts import Part, continents, opinion_groups
from benchmarks.study.tables import markdown, sheets_of
from benchmarks.study.voicing import unlearnt
from modular_pluralism.evaluation.data.outcome import Outcome, Prediction, empty_outcome
from modular_pluralism.records.rows import Row
from modular_pluralism.records.survey import survey_items
from modular_pluralism.training import Base, TrainingSettings
from modular_pluralism.training.split import split_by
from tests.training_models import write_tiny

ROOT = Path(__file__).resolve().parents[1]
GROUPS = ("POLPARTY_Democrat", "RELIG_Hindu", "RACE_Black", "SEX_Female", "INCOME_Less than $30,000")
FEW = 24


def rows(count: int, attributes: tuple[str, ...], first: int = 0) -> list[dict[str, Any]]:
    """The same questions, answered by everybody in a way of their own."""
    found: list[dict[str, Any]] = []
    for number in range(first, first + count):
        for place, attribute in enumerate(attributes):
            share = 0.2 + 0.1 * place + 0.01 * (number % 10)
            found.append(
                {
                    "id": len(found) + 1000 * first,
                    "question": f"Question: Is plan {number} good?\nOptions: A. Yes B. No\nAnswer:",
                    "options": ["Yes", "No"],
                    "attribute": attribute,
                    "gold_distribution": [share, 1 - share],
                }
            )
    return found


def write(path: Path, content: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_country_belongs_to_its_continent_and_oceania_to_nobody(tmp_path: Path) -> None:
    train = write(tmp_path / "train.json", rows(2, ("S. Korea", "Canada", "Australia")))
    test = write(tmp_path / "test.json", rows(2, ("Kenya",), first=5))
    part = continents(train, test)
    assert list(part.describe) == ["africa", "asia", "europe", "north_america", "south_america"]
    found = [part.belongs(name) for name in ("S. Korea", "Canada", "Australia", "Nigeria (Non-national sample)")]
    assert found == ["asia", "north_america", None, "africa"]


def test_files_with_a_question_in_common_are_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "train.json", rows(3, ("Kenya",)))
    test = write(tmp_path / "test.json", rows(3, ("Japan",), first=2))
    with pytest.raises(ValueError, match="1 questions in common"):
        continents(train, test)
    with pytest.raises(ValueError, match=r"test.json and .*test.json have 3 questions in common"):
        continents(write(tmp_path / "other.json", rows(3, ("Kenya",), first=9)), test, more=test)


def test_further_answers_are_of_new_questions_with_as_few_options(tmp_path: Path) -> None:
    train = write(tmp_path / "train.json", rows(3, ("Kenya",)))
    test = write(tmp_path / "test.json", rows(3, ("Japan",), first=5))
    further = [*rows(1, ("Kenya",)), *rows(3, ("Japan",), first=9)]
    further[-1] |= {"options": ["Yes", "No", "Or else"], "gold_distribution": [0.2, 0.3, 0.5]}
    part = continents(train, test, more=write(tmp_path / "more.json", further))
    assert [row["question"].split()[3] for row in part.more] == ["9", "10"]


def test_voices_are_fitted_on_questions_that_no_training_has_learnt_from(tmp_path: Path) -> None:
    people = ("Kenya", "Japan", "Australia")
    train = write(tmp_path / "train.json", rows(60, people))
    part = continents(train, write(tmp_path / "test.json", rows(3, people, first=60)))
    settings = TrainingSettings()
    held_out, further = unlearnt(part, settings)
    assert further == []
    assert {row["attribute"] for row in held_out} == {"Kenya", "Japan"}, "Australia's are nobody's"
    for name in ("africa", "asia"):
        own = survey_items([Row(row, "") for row in part.train if part.belongs(row["attribute"]) == name])
        learnt, _ = split_by(own, lambda item: item.question, settings.held_out, settings.seed, what="questions")
        asked = {item.question for item in learnt}
        assert asked
        assert not asked & {item.question for item in survey_items([Row(row, "") for row in held_out])}


def test_opinions_are_split_by_question_the_same_way_each_time(tmp_path: Path) -> None:
    torn = rows(2, GROUPS[:1], first=50)
    torn[0]["options"] = ["Ye", "requently", "Ye", "n occasion", "No"]
    torn[1]["options"] = ["Yes No"]
    statements = rows(2, GROUPS[:1], first=60)
    for number, row in enumerate(statements):
        row["options"] = [f"This is so, {number}", "It is not so"]
        row["question"] = f"Question: Which is nearer?\nOptions: A. This is so, {number} B. It is not so\nAnswer:"
    file = write(tmp_path / "opinions.json", rows(11, GROUPS) + torn + statements)
    part = opinion_groups(file, tmp_path / "out", seed=3)
    measured = json.loads(part.test.read_text())
    learnt = {row["question"] for row in part.train}
    assert len(learnt) == 5
    assert learnt.isdisjoint(row["question"] for row in measured)
    assert len(part.train) + len(measured) == 11 * len(GROUPS)
    assert opinion_groups(file, tmp_path / "again", seed=3).train == part.train
    assert opinion_groups(file, tmp_path / "other", seed=4).train != part.train
    assert [part.belongs(name) for name in GROUPS] == ["politics", "religion", "race", "standing", "standing"]


def outcome(number: int, method: str, shares: list[float]) -> Outcome:
    return {
        **empty_outcome(number, method),
        "prediction": Prediction(rotate=shares, label=shares, rotate_mass=0.9, label_mass=0.9, samples=None),
    }


def answers_of(items: list[dict[str, Any]], part: Part) -> Answers:
    """Each community knows its own people exactly and nothing of the others, and the pool is right for all."""
    even = [0.5, 0.5]

    def by(known: Any) -> list[list[float]]:
        return [item["gold_distribution"] if known(part.belongs(item["attribute"])) else even for item in items]

    predicted = {name: by(lambda _: False) for name in (ONE, COMMENT, "moe", "prompting", "vanilla")}
    predicted[VOTE] = by(lambda _: True)
    for name in part.describe:
        predicted[f"modular only {name}"] = by(lambda owner, name=name: owner == name)
        predicted[f"modular without {name}"] = by(lambda owner, name=name: owner != name)
    return {
        method: [outcome(item["id"], method, shares) for item, shares in zip(items, of_method, strict=True)]
        for method, of_method in predicted.items()
    }


def test_the_tables_show_who_knows_whom(tmp_path: Path) -> None:
    train = write(tmp_path / "train.json", rows(2, ("Kenya",)))
    items = rows(FEW, ("Kenya", "Japan", "France", "Canada", "Peru"), first=5)
    part = continents(train, write(tmp_path / "test.json", items))
    answers = answers_of(items, part)
    answers[COMMENT], answers["moe"] = answers[COMMENT][:10], answers["moe"][:10]
    few, methods, matrix, own, patches = sheets_of(part, answers, seed=0)
    assert [line.name for line in few.lines][:4] == [
        *("pool, `vote`", "one adapter for all", "the same pool, `comment`", "MoE")
    ]
    assert few.note.startswith("10 items, 2 distinct questions")
    assert methods.note.startswith(f"{5 * FEW} items, {FEW} distinct questions")
    gained = {line.name: line.cells.get("pool, `vote` − this") for line in methods.lines}
    assert gained["pool, `vote`"] is None
    for name in ("one adapter for all", "prompting", "vanilla", "*uniform*"):
        change = gained[name]
        assert change is not None
        assert change.clear
        assert change.value is not None
        assert change.value < 0
    for line in matrix.lines[:5]:
        (name,) = (title for title, figure in line.cells.items() if figure is not None and figure.value == 0)
        assert name == line.name
    for line in own.lines:
        assert line.cells["pool, `vote`"].value == 0  # type: ignore[union-attr]
        others = [figure for title, figure in line.cells.items() if title not in (line.name, "pool, `vote`")]
        assert all(figure is not None and figure.value is not None and figure.value < 0 for figure in others)
    for line in patches.lines:
        change, elsewhere = line.cells["its own items, change"], line.cells["others, change"]
        assert change is not None
        assert change.clear
        assert change.value is not None
        assert change.value < 0
        assert elsewhere is not None
        assert elsewhere.value == 0
        assert not elsewhere.clear
    text = markdown([methods, patches])
    assert "| vanilla | " in text
    assert "**−" in text


@pytest.fixture
def tiny_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny random model in the place of the demo model, on which trainings have tests of their own."""
    path = write_tiny(tmp_path / "tiny.gguf")
    for module in (study, training):
        monkeypatch.setattr(module, "demo_base", lambda: Base(gguf=path, source=str(path), context=512))


@pytest.mark.usefixtures("tiny_base")
def test_the_study_runs_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    people = ("Kenya", "Japan", "France", "Canada", "Peru")
    write(tmp_path / "globalopinionqa_train.json", rows(FEW, people))
    write(tmp_path / "distributional_test_globalopinionqa_dev550.json", rows(2, people, first=FEW))
    write(tmp_path / "globalopinionqa_more.json", rows(1, people, first=FEW + 2))
    command = ["study", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--part", "continents_begun_activated"]
    monkeypatch.setattr(sys, "argv", [*command, "--steps", "1", "--limit", "2"])
    assert study.main() == 0
    told = capsys.readouterr()
    assert "## The same, with adapters that act from the model's own turn on" in told.out
    assert "2 items, 1 distinct questions" in told.out
    assert "Training europe: 1 steps" in told.err
    europe = json.loads((tmp_path / "out" / "continents_begun_activated" / "europe.json").read_text())
    everybody = json.loads((tmp_path / "out" / "continents_activated" / "everybody.json").read_text())
    assert europe["settings"]["activated"]
    assert (europe["start"], everybody["start"]) == ("everybody", None)
    assert europe["curve"][0]["held_out"] != everybody["curve"][0]["held_out"]
    tables = json.loads((tmp_path / "out" / "tables.json").read_text())
    titles = [sheet["title"] for sheet in tables["continents_begun_activated"]]
    assert titles[:3] == ["Training", "Methods", "Each community on everybody's questions"]
    (recalled,) = (
        sheet
        for sheet in tables["continents_begun_activated"]
        if sheet["title"] == "Votes and records: each community with its own people's answers"
    )
    assert [line["name"] for line in recalled["lines"]] == ["vote", "record", "both", "both, fitted"]
    assert recalled["lines"][3]["cells"]["JS distance"]["n"] == 2
    assert "that no adapter has learnt from: weights vote 0.50, record 0.50" in recalled["note"]
    assert study.main() == 0
    assert "steps" not in capsys.readouterr().err  # nothing is trained again
    assert json.loads((tmp_path / "out" / "tables.json").read_text()) == tables
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--control-only"])
    assert study.main() == 0
    alone = json.loads((tmp_path / "out" / "tables.json").read_text())["continents_begun_activated"]
    assert [line["name"] for line in alone[0]["lines"]] == ["everybody"]
    assert alone[1:] == [sheet for sheet in tables["continents_begun_activated"] if "one community" in sheet["title"]]


def test_a_missing_folder_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["study", "--data", str(tmp_path / "none"), "--out", str(tmp_path), "--part", "continents"]
    monkeypatch.setattr(sys, "argv", command)
    assert study.main() == 1
    (told,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: "))
    assert "There is no file" in told
    assert "name the folder that holds it with --data" in told
    monkeypatch.setattr(sys, "argv", [*command, "--limit", "0"])
    with pytest.raises(SystemExit) as ended:
        study.main()
    assert ended.value.code == 2
    assert "'0' is no whole number from 1" in capsys.readouterr().err
