"""Methods with fake models: what they are asked about an item, and what comes out."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel

from modular_pluralism.errors import InputError, NoLogProbabilitiesError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.bench import demanding
from modular_pluralism.evaluation.run.methods import METHODS, Setting, build_methods, question
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.prompts import PromptSet
from tests.fake_models import NAMES, FakeChat, Seen, always, choosing, fake_models, fake_pool
from tests.task_items import option_item, overton_item, value_item, write_task


def prefers(seen: Seen) -> dict[str, float]:
    """The first option and the second comment or expert."""
    if "A. " in seen.prompt:
        return {"A": 0.6, "B": 0.2, "C": 0.1, "The": 0.1}
    return {"2": 0.8, "1": 0.1}


def opened(
    tmp_path: Path, item: dict[str, Any], base: BaseChatModel | None = None, **others: Any
) -> tuple[Setting, Item]:
    task = TaskFile.open(write_task(tmp_path / "task.json", [item]))
    pool = fake_pool(quorum=4)
    models = PoolModels(pool, fake_models(base or choosing(prefers), **others))
    return Setting(task.kind, pool, models, PromptSet.load(), "rotate", 0), next(task.items())


def outcome(setting: Setting, item: Item, name: Any, **patches: Any) -> Outcome:
    return asyncio.run(build_methods([name], setting, **patches)[-1].answer(item))


@pytest.mark.parametrize("name", METHODS)
def test_a_distribution_is_read_in_both_ways(tmp_path: Path, name: str) -> None:
    setting, item = opened(tmp_path, option_item(0))
    found = outcome(setting, item, name)
    prediction = found["prediction"]
    assert found["error"] is None
    assert prediction is not None
    assert prediction["rotate"] == pytest.approx([1 / 3] * 3)
    assert prediction["label"] == pytest.approx([2 / 3, 2 / 9, 1 / 9])
    assert prediction["label_mass"] == pytest.approx(0.9)
    assert prediction["rotate_mass"] == pytest.approx(0.9)
    assert len(found["comments"]) == {"moe": 1, "modular": len(NAMES)}.get(name, 0)
    assert found["selected"] == (NAMES[1] if name == "moe" else None)


def test_priors_weigh_both_readings(tmp_path: Path) -> None:
    def opinions(seen: Seen) -> dict[str, float]:
        return {"A": 0.9, "B": 0.1} if "The view of north." in seen.prompt else {"A": 0.1, "B": 0.9}

    task = TaskFile.open(write_task(tmp_path / "task.json", [option_item(0)]))
    pool = fake_pool(("north", "south"), priors=[3, 1])
    models = PoolModels(pool, fake_models(choosing(opinions), ("north", "south")))
    setting = Setting(task.kind, pool, models, PromptSet.load(), "rotate", 0)
    prediction = outcome(setting, next(task.items()), "modular")["prediction"]
    assert prediction is not None
    assert prediction["label"] == pytest.approx([0.75 * 0.9 + 0.25 * 0.1, 0.75 * 0.1 + 0.25 * 0.9, 0])


@pytest.mark.parametrize("name", METHODS)
def test_a_stance_is_a_choice(tmp_path: Path, name: str) -> None:
    setting, item = opened(tmp_path, value_item(0))
    assert setting.kind == "steerable-value"
    found = outcome(setting, item, name)
    assert found["prediction"] is not None
    assert found["selected"] == (NAMES[1] if name in ("moe", "modular") else None)


@pytest.mark.parametrize("name", METHODS)
def test_an_overton_answer_is_a_text(tmp_path: Path, name: str) -> None:
    setting, item = opened(tmp_path, overton_item(0))
    found = outcome(setting, item, name)
    assert (found["answer"], found["prediction"], found["error"]) == ("An answer.", None, None)


def test_the_country_is_told_and_the_ambiguity_is_not(tmp_path: Path) -> None:
    setting, item = opened(tmp_path, option_item(0))
    assert question(item, setting)["attribute"] == "Spain"
    setting, item = opened(tmp_path, option_item(0, attribute="low_ambiguity"))
    assert question(item, setting)["attribute"] is None
    setting, item = opened(tmp_path, option_item(0, attribute="POLPARTY_Democrat"))
    assert setting.kind == "steerable-opinion"
    assert "Democrat" in question(item, setting)["attribute"]


def test_the_options_are_not_told_twice(tmp_path: Path) -> None:
    boss = choosing(prefers)
    setting, item = opened(tmp_path, option_item(0), boss)
    outcome(setting, item, "vanilla")
    assert len(boss.prompts) == 3
    assert all(prompt.count("It depends") == 1 and "Answer:" not in prompt for prompt in boss.prompts)


def test_a_single_option_needs_no_model(tmp_path: Path) -> None:
    raw = option_item(0, options=["Yes"], gold_distribution=[1.0], question="Question: Why?\nOptions: A. Yes\nAnswer:")
    boss = choosing(prefers)
    setting, item = opened(tmp_path, raw, boss)
    prediction = outcome(setting, item, "modular")["prediction"]
    assert prediction is not None
    assert prediction["rotate"] == [1.0]
    assert boss.seen == []


def test_comments_are_the_same_for_every_method_and_differ_between_items(tmp_path: Path) -> None:
    heard: dict[str, list[Any]] = {}
    for name, patches in (("modular", {}), ("moe", {}), ("modular", {"without": ["south"]})):
        models = {each: FakeChat(say=lambda seen: "A view.") for each in NAMES}
        setting, item = opened(tmp_path, option_item(3), **models)
        outcome(setting, item, name, **patches)
        heard.setdefault("north", []).append(models["north"].seeds)
        heard.setdefault("east", []).append(models["east"].seeds)
    assert heard["north"][0] == heard["north"][2]
    assert heard["east"][0] == heard["east"][1] == heard["east"][2]
    setting, other = opened(tmp_path, option_item(4), **models)
    assert question(item, setting)["seed"] != question(other, setting)["seed"]


def test_one_community_less_and_one_alone(tmp_path: Path) -> None:
    setting, item = opened(tmp_path, option_item(0))
    methods = build_methods(["modular"], setting, without=["south"], only=["east"])
    assert [method.name for method in methods] == ["modular", "modular without south", "modular only east"]
    _, less, alone = (asyncio.run(method.answer(item)) for method in methods)
    assert set(less["comments"]) == set(NAMES) - {"south"}
    assert set(alone["comments"]) == {"east"}


@pytest.mark.parametrize("patches", [{"without": ["nobody"]}, {"only": ["nobody"]}])
def test_an_unknown_community_is_refused(tmp_path: Path, patches: Any) -> None:
    setting, _ = opened(tmp_path, option_item(0))
    with pytest.raises(InputError, match=r"no community 'nobody'; it has north"):
        build_methods(["modular"], setting, **patches)


def test_a_failure_is_an_outcome_and_no_answer(tmp_path: Path) -> None:
    broken = {name: always(ValueError("broken")) for name in NAMES[:3]}
    setting, item = opened(tmp_path, option_item(0), **broken)
    found = outcome(setting, item, "modular")
    assert found["error"] is not None
    assert "quorum is 4" in found["error"]
    assert found["missing"] == sorted(NAMES[:3])
    assert found["prediction"] is None


def test_a_missing_community_is_named(tmp_path: Path) -> None:
    setting, item = opened(tmp_path, option_item(0), north=always(ValueError("broken")))
    found = outcome(setting, item, "modular")
    assert found["missing"] == ["north"]
    assert found["prediction"] is not None


def test_what_no_item_can_survive_is_raised(tmp_path: Path) -> None:
    setting, item = opened(tmp_path, option_item(0), always("I have no log-probabilities."))
    text = Setting(setting.kind, setting.pool, setting.models, setting.prompts, "text", 0)
    with pytest.raises(NoLogProbabilitiesError):
        outcome(text, item, "vanilla")


def test_perspectives_are_asked_of_the_base_alone(tmp_path: Path) -> None:
    boss = choosing(prefers)
    setting, item = opened(tmp_path, overton_item(0), boss)
    prompts = demanding(setting.prompts, 5)
    asked = Setting(setting.kind, setting.pool, setting.models, prompts, "rotate", 0)
    for name in METHODS:
        outcome(asked, item, name)
        assert "5 different perspectives" in boss.prompts[-1]
    assert "perspectives" not in next(prompt for prompt in boss.prompts if "Expert 1" in prompt)
