"""A pool as a model of Inspect: real tasks, on the real model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from inspect_ai.model import ChatMessageUser, GenerateConfig, ModelName, ModelOutput
from inspect_ai.solver import TaskState
from inspect_ai.solver._task_state import set_sample_state

from modular_pluralism.evaluation.inspect import model as inspect_model
from modular_pluralism.evaluation.inspect.model import PluralismModel, take_options
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Pool
from tests.fake_models import FakeChat, choosing, fake_models, fake_pool

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


def test_prompting_draws_anew_in_each_epoch(tmp_path: Path) -> None:
    done = inspect(tmp_path, "saying", "pluralism/prompting", "--epochs", "2", "--max-tokens", "24", "-M", "seed=5")
    assert done.returncode == 0, done.stdout + done.stderr
    samples = log(tmp_path).samples
    assert samples is not None
    said = {sample.epoch: sample.output for sample in samples}
    assert said[1].completion != said[2].completion
    assert said[1].metadata is not None
    assert said[1].metadata["seed"] == 5


Open = Callable[..., PluralismModel]


@pytest.fixture
def base() -> FakeChat:
    """Reports no log-probabilities."""
    return FakeChat(say=lambda seen: "A" if "A. " in seen.prompt else "1")


@pytest.fixture
def model(base: FakeChat, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a mode on a pool of fakes: what is asked is told by them."""
    monkeypatch.setattr(Pool, "load", lambda name: fake_pool())
    monkeypatch.setattr(inspect_model, "PoolModels", lambda pool: PoolModels(pool, fake_models(base)))
    return PluralismModel


CHOICE = "Is it right to lie?\n\nA) Yes\nB) No"


async def said(model: PluralismModel, text: str, config: GenerateConfig | None = None) -> ModelOutput:
    return await model.generate([ChatMessageUser(content=text)], [], "none", config or GenerateConfig())


async def seeds(model: PluralismModel, calls: Sequence[tuple[str, int | None]]) -> list[int]:
    """The seeds of calls, each of a sample by its name in an epoch; without an epoch, of no sample."""
    found = []
    for sample, epoch in calls:
        if epoch is not None:
            state = TaskState(ModelName("mock/m"), sample, epoch, "lying?", [], sample_uuid=f"{sample}/{epoch}")
            set_sample_state(state)
        output = await said(model, "lying?")
        assert output.metadata is not None
        found.append(output.metadata["seed"])
    return found


async def test_each_call_has_a_seed_that_can_be_had_again(model: Open) -> None:
    calls = [("a", 1), ("b", 1), ("a", 2), ("a", 2), ("a", 1), ("b", 2)]
    a1, b1, a2, a2_again, a1_again, b2 = await seeds(model("vanilla", seed=7), calls)
    assert a1 == b1 == 7
    assert a2 == b2
    assert len({a1, a2, a2_again, a1_again}) == 4
    backwards = await seeds(model("vanilla", seed=7), [("b", 2), ("a", 2), ("b", 1), ("a", 1)])
    assert backwards == [b2, a2, b1, a1], "not in the order of the calls"
    assert await seeds(model("vanilla", seed=8), [("a", 2)]) != [a2]


async def test_without_a_sample_calls_are_counted(model: Open) -> None:
    one, other = model("vanilla"), model("vanilla")
    first = await seeds(one, [("", None)] * 3)
    assert first[0] == 0
    assert len(set(first)) == 3
    assert await seeds(other, [("", None)] * 3) == first
    config = GenerateConfig(seed=11)
    outputs = [await said(one, "lying?", config) for _ in range(2)]
    assert [output.metadata["seed"] == 11 for output in outputs if output.metadata] == [True, False]


@pytest.mark.parametrize("mode", ["distributional", "vanilla", "prompting", "moe"])
async def test_an_estimate_says_how_many_replies_it_is_from(model: Open, base: FakeChat, mode: str) -> None:
    output = await said(model(mode), CHOICE)
    assert output.metadata is not None
    assert output.completion == "ANSWER: A"
    replies = [each for each in base.seen if "A. " in each.prompt and not each.settings.get("logprobs")]
    assert output.metadata["samples"] == len(replies) > 1


async def test_what_is_read_from_the_model_is_no_estimate(model: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = choosing(lambda seen: {"A": 0.6, "B": 0.2})
    monkeypatch.setattr(inspect_model, "PoolModels", lambda pool: PoolModels(pool, fake_models(reading)))
    for mode in ("distributional", "vanilla"):
        output = await said(model(mode), CHOICE)
        assert output.metadata is not None
        assert "distribution" in output.metadata
        assert "samples" not in output.metadata


@pytest.mark.parametrize(
    ("further", "text", "told"),
    [
        ({}, "Is it right to lie?", "has to reflect many different values"),
        ({}, CHOICE, "has to match the share of people"),
        ({"attribute": "honesty"}, CHOICE, "most in line with the attribute"),
    ],
)
async def test_prompting_tells_what_the_question_wants(
    model: Open, base: FakeChat, further: dict[str, str], text: str, told: str
) -> None:
    await said(model("prompting", **further), text)
    assert all(told in prompt for prompt in base.prompts)


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
