"""Groups of options: what commands take stands for the settings that they make of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from modular_pluralism.cli.call_options import BenchOptions, VotingBenchOptions, examples, expand_groups
from modular_pluralism.cli.community import TrainingOptions
from modular_pluralism.cli.eval import EvaluationOptions
from modular_pluralism.cli.prompts import TrialOptions
from modular_pluralism.cli.serve import LimitOptions
from modular_pluralism.evaluation.run.bench import BenchSettings
from modular_pluralism.evaluation.run.evaluation import EvaluationSettings
from modular_pluralism.patching.patch import PatchSettings
from modular_pluralism.prompt_trials.bench import TrialSettings
from modular_pluralism.serving.limits import Limits
from modular_pluralism.training.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class Base:
    seed: Annotated[int, typer.Option(min=0, help="A seed.")] = 3


@dataclass(frozen=True, kw_only=True)
class Group(Base):
    name: Annotated[str | None, typer.Option("--called")] = None


def defaults(settings: Any) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(settings).parameters.items()}


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (BenchOptions, BenchSettings),
        (VotingBenchOptions, PatchSettings),
        (EvaluationOptions, EvaluationSettings),
        (TrialOptions, TrialSettings),
        (TrainingOptions, TrainingSettings),
    ],
)
def test_options_are_settings_with_the_same_defaults(options: Any, settings: Any) -> None:
    assert defaults(options).items() <= defaults(settings).items()


def test_every_limit_of_the_server_is_an_option() -> None:
    assert defaults(LimitOptions) == defaults(Limits)


def test_a_group_stands_for_its_options() -> None:
    seen: list[tuple[str, Group, int]] = []
    app = typer.Typer()

    @app.command()
    @expand_groups
    def command(text: str, group: Group, more: int = 1) -> None:
        """What it does."""
        seen.append((text, group, more))

    run = CliRunner()
    assert run.invoke(app, ["a", "--called", "b", "--more", "2"]).exit_code == 0
    assert run.invoke(app, ["a", "--seed", "7"]).exit_code == 0
    assert run.invoke(app, ["a", "--seed", "-1"]).exit_code == 2
    assert seen == [("a", Group(seed=3, name="b"), 2), ("a", Group(seed=7), 1)]
    shown = run.invoke(app, ["--help"]).output
    assert "What it does." in shown
    assert "A seed." in shown
    assert "--group" not in shown


def test_examples_stand_one_beneath_the_other() -> None:
    assert examples("pluralism demo") == "\b\nExample:\n  pluralism demo"
    assert examples("\npluralism\npluralism demo\n") == "\b\nExamples:\n  pluralism\n  pluralism demo"
