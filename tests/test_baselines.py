"""Baselines with fake models: what the base LLM is told, and by whom it is helped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modular_pluralism.errors import InputError, QuorumError
from modular_pluralism.graphs import build_moe, build_prompting, build_vanilla
from modular_pluralism.graphs.baselines import prompted_modes
from modular_pluralism.graphs.state import BaselineQuestion
from tests.fake_models import NAMES, FakeChatWithLogprobs, Seen, always, choosing, fake_models, fake_pool, label_of
from tests.test_overton import without_seconds

OPTIONS = ["Yes", "No", "Only some"]
ASKED: BaselineQuestion = {"question": "Should everybody vote?"}
CHOICE: BaselineQuestion = {**ASKED, "options": OPTIONS}


def prefers(seen: Seen) -> dict[str, float]:
    """Expert 4, and the option "No" wherever it stands."""
    if "Expert 1:" in seen.prompt:
        return {"4": 0.6, "1": 0.3, "The": 0.1}
    return {label_of("No", seen.prompt): 0.6, label_of("Yes", seen.prompt): 0.3, "The": 0.1}


def base() -> FakeChatWithLogprobs:
    return choosing(prefers, "An answer.")


def test_vanilla_is_told_the_question_and_nothing_else() -> None:
    boss = base()
    models = fake_models(boss)
    graph = build_vanilla(fake_pool(), models=models).compile()
    assert graph.invoke({**ASKED, "attribute": "thrift"})["answer"] == "An answer."
    assert boss.prompts == ["[human]\nShould everybody vote?"]
    assert not any(models[name].seen for name in models if name in NAMES)  # type: ignore[attr-defined]


@pytest.mark.parametrize("scoring", ["label", "rotate"])
def test_vanilla_chooses_among_options(scoring: Any) -> None:
    boss = base()
    result = build_vanilla(fake_pool(), scoring=scoring, models=fake_models(boss)).compile().invoke(CHOICE)
    assert (result["choice"], result["answer"]) == ("No", "No")
    assert result["distribution"]["probabilities"] == pytest.approx([1 / 3, 2 / 3, 0])
    assert len(boss.seen) == (3 if scoring == "rotate" else 1)


@pytest.mark.parametrize("mode", prompted_modes())
@pytest.mark.parametrize("options", [None, OPTIONS])
def test_prompting_says_more_than_vanilla(mode: str, options: Any) -> None:
    asked: Any = {**ASKED, "options": options, "attribute": "thrift" if mode == "steerable" else None}
    plain, told = base(), base()
    build_vanilla(fake_pool(), models=fake_models(plain)).compile().invoke(asked)
    result = build_prompting(fake_pool(), mode=mode, models=fake_models(told)).compile().invoke(asked)
    assert result["answer"] == ("No" if options else "An answer.")
    assert len(told.prompts) == len(plain.prompts)
    assert told.prompts != plain.prompts
    assert all(("thrift" in prompt) is (mode == "steerable") for prompt in told.prompts)


def test_prompting_needs_a_prompt_for_the_mode() -> None:
    with pytest.raises(InputError, match=r"There is no mode that a prompt .* 'assembly'; use overton, steer"):
        build_prompting(fake_pool(), mode="assembly")


@pytest.mark.parametrize("options", [None, OPTIONS])
def test_prompting_speaks_for_the_group_whose_distribution_is_wanted(options: Any) -> None:
    boss = base()
    graph = build_prompting(fake_pool(), mode="distributional", models=fake_models(boss)).compile()
    graph.invoke({**ASKED, "options": options, "attribute": "Spain"})
    assert all("Spain" in prompt for prompt in boss.prompts)


def test_steerable_prompting_needs_an_attribute() -> None:
    boss = base()
    graph = build_prompting(fake_pool(), mode="steerable", models=fake_models(boss)).compile()
    with pytest.raises(InputError, match="needs an attribute"):
        graph.invoke(ASKED)
    assert boss.seen == []


@pytest.mark.parametrize("options", [None, OPTIONS])
def test_moe_asks_one_expert_only(options: Any) -> None:
    boss = base()
    models = fake_models(boss)
    graph = build_moe(fake_pool(), models=models).compile()
    result = graph.invoke({**ASKED, "options": options})
    expert = NAMES[3]
    assert result["selected"]["community"] == expert
    assert result["selected"]["probability"] == pytest.approx(2 / 3)
    assert list(result["comments"]) == [expert]
    routing, *answering = boss.prompts
    assert "Expert 4:" in routing
    assert all(f"The view of {expert}." in prompt for prompt in answering)
    assert result["answer"] == ("No" if options else "An answer.")
    asked_again: Any = {**ASKED, "options": options}
    again = asyncio.run(build_moe(fake_pool(), models=fake_models(base())).compile().ainvoke(asked_again))
    assert without_seconds(again) == without_seconds(result)


def test_moe_without_its_expert_has_no_answer() -> None:
    models = fake_models(base()) | {NAMES[3]: always(ValueError("broken"))}
    with pytest.raises(QuorumError, match=f"{NAMES[3]}.*broken"):
        build_moe(fake_pool(attempts=1), models=models).compile().invoke(ASKED)


def test_the_picture_of_moe_shows_the_pool() -> None:
    picture = build_moe(fake_pool(), models=fake_models(base())).compile().get_graph()
    assert {"check", "route", "answer", *NAMES} <= set(picture.nodes)
