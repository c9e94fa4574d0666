"""The bench that evaluations, trials, fits and patches stand on: what it refuses for all of them, and how it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel

from modular_pluralism.errors import EvaluationError, InputError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.bench import Bench, BenchSettings, each_item, untold
from modular_pluralism.evaluation.run.evaluation import Evaluation, EvaluationSettings, Files
from modular_pluralism.patching.patch import Patch, PatchSettings
from modular_pluralism.priors.fit import FitSettings, PriorsFit
from modular_pluralism.prompt_trials.bench import TrialSettings
from modular_pluralism.prompt_trials.trial import Trial
from tests.fake_models import choosing, fake_models, fake_pool
from tests.task_items import option_item, overton_item, write_task

TWO = ("north", "south")


@pytest.fixture
def task(tmp_path: Path) -> TaskFile:
    return TaskFile.open(write_task(tmp_path / "task.json", [option_item(place) for place in range(6)]))


def settings_of(**changes: Any) -> dict[str, Any]:
    models = fake_models(choosing(lambda seen: {"A": 0.6, "B": 0.3, "C": 0.1}), TWO)
    return {"pool": fake_pool(TWO), "models": models, **changes}


Open = Callable[[TaskFile, Path, dict[str, Any]], Any]
BENCHES: dict[str, Open] = {
    "evaluation": lambda task, folder, given: Evaluation(task, EvaluationSettings(**given), Files(folder / "out")),
    "trial": lambda task, folder, given: Trial(task, [folder], TrialSettings(**given)),
    "fit": lambda task, folder, given: PriorsFit(task, FitSettings(**given)),
    "patch": lambda task, folder, given: Patch(task, PatchSettings(add="south", **given)),
}


@pytest.mark.parametrize("name", BENCHES)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nli": "llm"}, "--nli is for Overton task files"),
        ({"judge": "boss"}, "--judge is for Overton task files"),
        ({"perspectives": 5}, "--perspectives is for Overton task files"),
        ({"style": "completion"}, "plain text can only be sent to embedded models; use --style chat"),
        ({"pool": "nowhere"}, "nowhere"),
    ],
)
def test_all_refuse_the_same(task: TaskFile, tmp_path: Path, name: str, changes: Any, message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        BENCHES[name](task, tmp_path, settings_of(**changes))
    assert getattr(caught.value, "exit_code", None) == 2
    assert not (tmp_path / "out").exists()


def test_prompts_are_tried_with_comments_alone(task: TaskFile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="with the voice comment, not vote"):
        BENCHES["trial"](task, tmp_path, settings_of(voice="vote"))


@pytest.mark.parametrize("name", ["prompts", "perspectives", "judge"])
def test_prompts_are_compared_with_the_built_in_ones_as_they_are(tmp_path: Path, name: str) -> None:
    folder = Path(__file__).parents[1] / "docs" / "example_prompts"
    given = {"prompts": folder, "perspectives": 5, "judge": "boss"}
    task = TaskFile.open(write_task(tmp_path / "task.json", [overton_item(0)]))
    with pytest.raises(InputError, match=f"leave {name} out"):
        BENCHES["trial"](task, tmp_path, settings_of(nli="llm", **{name: given[name]}))


def test_an_evaluation_is_not_continued_with_other_chat_models(task: TaskFile, tmp_path: Path) -> None:
    run = {"methods": ["vanilla"], "limit": 1}
    asyncio.run(BENCHES["evaluation"](task, tmp_path, settings_of(**run)).run(untold, lambda known: None))
    others = {name: FakeListChatModel(responses=["A"]) for name in ("boss", *TWO)}
    evaluation = BENCHES["evaluation"](task, tmp_path, settings_of(**run, models=others))
    with pytest.raises(EvaluationError, match="another models"):
        asyncio.run(evaluation.run(untold, lambda known: None))


def test_an_evaluation_is_not_continued_as_another_kind(task: TaskFile, tmp_path: Path) -> None:
    run = settings_of(methods=["vanilla"], limit=1)
    asyncio.run(BENCHES["evaluation"](task, tmp_path, run).run(untold, lambda known: None))
    other = TaskFile.open(task.path, kind="steerable-opinion")
    with pytest.raises(EvaluationError, match="another kind"):
        asyncio.run(BENCHES["evaluation"](other, tmp_path, run).run(untold, lambda known: None))


def test_a_limit_beyond_the_file_takes_all(task: TaskFile) -> None:
    assert len(Bench(task, BenchSettings(**settings_of(limit=10**30))).items) == 6


def test_an_evaluation_takes_a_pool_and_chat_models(task: TaskFile, tmp_path: Path) -> None:
    evaluation = BENCHES["evaluation"](task, tmp_path, settings_of(methods=["vanilla", "modular"], limit=3))
    results = asyncio.run(evaluation.run(lambda maker, result: None, lambda known: None))
    assert results.failed == 0
    assert results.task["items evaluated"] == 3
    assert results.run["base LLM"] == "boss"


def test_what_was_run_is_told_of_overton_answers_too(tmp_path: Path) -> None:
    task = TaskFile.open(write_task(tmp_path / "task.json", [overton_item(0)]))
    given = settings_of(nli="llm", judge="north", perspectives=5, comment_tokens=7, seed=3)
    facts = Bench(task, BenchSettings(**given)).facts()
    assert facts["entailment"] == "entailment judged by model 'boss'"
    assert (facts["judge"], facts["required perspectives"]) == ("north", 5)
    assert (facts["seed"], facts["comment tokens"], facts["communities"]) == (3, 7, "north, south")


async def test_items_are_worked_on_side_by_side_and_stay_in_order(task: TaskFile) -> None:
    now = most = 0

    async def work(place: int, item: Item) -> tuple[int, Any]:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001 * (6 - place))
        now -= 1
        return place, item.id

    items = list(task.items())
    assert await each_item(items, work, concurrency=2) == [(place, item.id) for place, item in enumerate(items)]
    assert most == 2


async def test_the_others_are_stopped_where_one_cannot_be_made(task: TaskFile) -> None:
    done = []

    async def work(place: int, item: Item) -> None:
        if place == 1:
            raise InputError("of no use for any item")
        await asyncio.sleep(0 if place == 0 else 30)
        done.append(place)

    with pytest.raises(InputError, match="of no use for any item"):
        await each_item(list(task.items()), work, concurrency=3)
    assert done == [0]
