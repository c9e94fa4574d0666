"""`pluralism score`: the measures of files that somebody has filled in, against scipy and plain counting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from modular_pluralism.cli.score import score
from modular_pluralism.errors import InputError, TaskFileError
from modular_pluralism.evaluation.data.items import OvertonItem
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.score_file import METHOD, score_file
from modular_pluralism.evaluation.statistics.results import Results, Row
from modular_pluralism.option_math import normalise
from tests.scipy_distance import jensenshannon

app = typer.Typer()
app.command()(score)


def written(folder: Path, items: list[dict[str, Any]]) -> Path:
    path = folder / "filled.json"
    path.write_text(json.dumps(items), encoding="utf-8")
    return path


def overall(results: Results) -> Row:
    return next(row for row in results.tables[0].rows if row.name == METHOD)


def shares(size: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(1e-6, 1), min_size=size, max_size=size).map(normalise)


def pair(size: int) -> st.SearchStrategy[tuple[list[float], list[float] | None]]:
    return st.tuples(shares(size), st.none() | shares(size))


def option_items(pairs: list[tuple[list[float], list[float] | None]]) -> list[dict[str, Any]]:
    return [
        {
            "id": n,
            "question": "Tea?",
            "options": [f"option {place}" for place in range(len(gold))],
            "attribute": "Kenya",
            "gold_distribution": gold,
            "pred_distribution": predicted,
        }
        for n, (gold, predicted) in enumerate(pairs)
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 8).flatmap(pair), min_size=1, max_size=30))
def test_figures_equal_scipy_and_plain_counting(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[list[float], list[float] | None]]
) -> None:
    path = written(tmp_path_factory.getbasetemp(), option_items(pairs))
    items = json.loads(path.read_text())
    if all(item["pred_distribution"] is None for item in items):
        with pytest.raises(InputError, match="No item"):
            score_file(TaskFile.open(path))
        return
    filled = [item for item in items if item["pred_distribution"] is not None]
    cells = overall(score_file(TaskFile.open(path), resamples=20)).cells
    assert ("failed" in cells) == any(predicted is None for _, predicted in pairs)
    assert ("js" in cells) == bool(filled)
    if not filled:
        return
    distances = [jensenshannon(item["gold_distribution"], item["pred_distribution"]) for item in filled]
    plain = sum(0.0 if distance != distance else float(distance) for distance in distances) / len(filled)
    agreeing = sum(
        item["gold_distribution"].index(max(item["gold_distribution"]))
        == item["pred_distribution"].index(max(item["pred_distribution"]))
        for item in filled
    )
    assert cells["js"].value == pytest.approx(plain, abs=1e-12)
    assert cells["js"].n == len(filled)
    assert cells["agree"].value == pytest.approx(agreeing / len(items), abs=1e-12)  # what is not filled in is wrong


def value_items(outputs: list[str | None]) -> list[dict[str, Any]]:
    one = {"situation": "lying", "vrd": "Honesty", "label": "B", "input": "lying?"}
    return [{**one, "id": n, "output": output} for n, output in enumerate(outputs)]


def test_stances_are_told_from_outputs_and_never_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, value_items(["B. Oppose", "opposes", "A", "banana", None, ""]))
    results = score_file(TaskFile.open(path))
    cells = overall(results).cells
    assert cells["accuracy"].value == pytest.approx(2 / 6)
    assert (cells["failed"].value, results.failed) == (3, 3)
    assert [failure.id for failure in results.failures] == [3, 4, 5]
    assert "banana" in results.failures[0].error


def overton_items() -> list[dict[str, Any]]:
    one = {"situation": "s", "vrd": ["v", "w"], "explanation": ["honest people", "kind people"], "input": "lying?"}
    return [{**one, "id": n, "output": said} for n, said in enumerate(["Honest people mind.", "", None])]


def test_overton_files_are_measured_with_whatever_measure_is_given(tmp_path: Path) -> None:
    def shared_words(item: OvertonItem, answer: str) -> list[float]:
        said = set(answer.lower().strip(".").split())
        return [len(said & set(each.split())) / 2 for each in item.explanations]

    results = score_file(TaskFile.open(written(tmp_path, overton_items())), coverage_of=shared_words)
    cells = overall(results).cells
    assert cells["coverage"].value == pytest.approx((0.75 + 0) / 2)
    assert cells["coverage"].n == 2
    assert cells["covered"].value == pytest.approx(1 / 3)
    assert not any("--nli" in warning for warning in results.warnings)


def test_without_a_measure_overton_files_are_counted_with_a_warning(tmp_path: Path) -> None:
    results = score_file(TaskFile.open(written(tmp_path, overton_items())))
    assert "coverage" not in overall(results).cells
    assert overall(results).cells["words"].value == pytest.approx(1.5)
    assert any("--nli" in warning for warning in results.warnings)


def test_the_command_prints_results_as_json(tmp_path: Path) -> None:
    path = written(tmp_path, option_items([([0.2, 0.8], [0.3, 0.7]), ([0.6, 0.4], [0.5, 0.5])]))
    before = path.read_bytes()
    done = CliRunner().invoke(app, [str(path), "--json", "--seed", "4"])
    assert done.exit_code == 0, done.output
    found = Results.model_validate_json(done.stdout)
    assert found == score_file(TaskFile.open(path), seed=4)
    assert path.read_bytes() == before


def test_the_command_prints_tables(tmp_path: Path) -> None:
    path = written(tmp_path, option_items([([0.2, 0.8], [0.3, 0.7]), ([0.6, 0.4], [0.5, 0.5])]))
    done = CliRunner().invoke(app, [str(path)])
    assert done.exit_code == 0, done.output
    for word in ("JS", "uniform", METHOD.split()[-1]):
        assert word in done.stdout


def test_bad_files_and_settings_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, option_items([([0.2, 0.8], [0.3, 0.3])]))
    refused = CliRunner().invoke(app, [str(path)]).exception
    assert isinstance(refused, TaskFileError)
    assert "field pred_distribution" in str(refused)
    path = written(tmp_path, option_items([([0.2, 0.8], [0.3, 0.7])]))
    refused = CliRunner().invoke(app, [str(path), "--nli", "some/model"]).exception
    assert isinstance(refused, InputError)
    assert "leave --nli out" in str(refused)


def test_the_kind_can_be_said(tmp_path: Path) -> None:
    path = written(tmp_path, option_items([([0.2, 0.8], [0.3, 0.7])]))
    done = CliRunner().invoke(app, [str(path), "--json", "--kind", "steerable-opinion"])
    assert Results.model_validate_json(done.stdout).task["kind"] == "steerable-opinion"
