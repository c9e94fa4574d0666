"""A pool as a model of Inspect: real tasks, on the real model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log

from modular_pluralism.evaluation.inspect_model import take_options

INSPECT = Path(sys.executable).parent / "inspect"
TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import choice, includes
from inspect_ai.solver import generate, multiple_choice

@task
def choosing():
    sample = Sample(input="On which continent is Kenya?", choices=["Africa", "Asia"], target="A")
    return Task(dataset=[sample, sample.model_copy(update={"id": "2"})], solver=multiple_choice(), scorer=choice())

@task
def saying():
    return Task(dataset=[Sample(input="Should wages be public?", target="wages")], solver=generate(), scorer=includes())
"""


def inspect(folder: Path, task: str, model: str, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "tasks.py").write_text(TASK)
    command = [
        str(INSPECT),
        "eval",
        f"tasks.py@{task}",
        "--model",
        model,
        "--log-dir",
        "logs",
        "--display",
        "plain",
        *more,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def log(folder: Path) -> EvalLog:
    (found,) = list_eval_logs(str(folder / "logs"))
    return read_eval_log(found)


@pytest.mark.parametrize("mode", ["distributional", "moe"])
def test_a_multiple_choice_task(tmp_path: Path, mode: str) -> None:
    done = inspect(tmp_path, "choosing", f"pluralism/{mode}", "-M", "seed=3")
    assert done.returncode == 0, done.stdout + done.stderr
    found = log(tmp_path)
    assert found.status == "success", found.error
    assert found.samples is not None
    assert len(found.samples) == 2
    for sample in found.samples:
        assert sample.output.completion in ("ANSWER: A", "ANSWER: B")
        assert sample.output.metadata is not None
        assert len(sample.output.metadata["comments"]) == {"distributional": 6, "moe": 1}[mode]
        assert sample.output.usage is not None
        assert sample.output.usage.output_tokens > 0


def test_a_task_with_a_text_for_an_answer(tmp_path: Path) -> None:
    done = inspect(
        *(tmp_path, "saying", "pluralism/steerable", "-M", "attribute=the right to privacy", "--max-tokens", "16")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = log(tmp_path)
    assert found.status == "success", found.error
    assert found.samples is not None
    output = found.samples[0].output
    assert output.completion
    assert output.stop_reason == "max_tokens"
    assert output.metadata is not None
    assert output.metadata["selected"]["community"] in output.metadata["comments"]


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("pluralism/nosuch", (), "There is no pluralism/nosuch"),
        ("pluralism/steerable", (), "needs an attribute"),
        ("pluralism/overton", ("-M", "pool=nosuch"), "nosuch"),
        ("pluralism/vanilla", ("-M", "scoring=dice"), "no scoring 'dice'"),
    ],
)
def test_what_cannot_be_a_model(tmp_path: Path, model: str, more: tuple[str, ...], message: str) -> None:
    done = inspect(tmp_path, "saying", model, *more)
    assert done.returncode != 0
    said = " ".join((done.stdout + done.stderr).split())
    assert message in said
    assert "Traceback" not in said


def test_options_are_taken_off_where_they_run_from_a() -> None:
    assert take_options("Which?\n\nA) One\nB) Two\n") == ("Which?", ["One", "Two"])
    for text in ("Which?\nA) One", "Which?\nB) One\nC) Two", "Which?\nA) One\nC) Two", "No options here."):
        assert take_options(text) == (text, [])
