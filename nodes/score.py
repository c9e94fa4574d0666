"""Distributional: the base LLM's probability of every option, given one community's comment (section 3)."""

from __future__ import annotations

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.read_options import group_prompts, read_of_community
from modular_pluralism.nodes.step import Body, State, Steps, step_maker
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring


@step_maker(prompts=group_prompts("score"))
def score(community: str, models: PoolModels, prompts: PromptSet, *, scoring: Scoring, samples: int) -> Body:
    """Step that writes `distributions[community]`, or an error to the community's comment."""

    def step(state: State) -> Steps:
        said = state["comments"][community]
        reading = read_of_community(
            community,
            models.base(),
            state,
            prompts,
            "score",
            said,
            into="distributions",
            scoring=scoring,
            samples=samples,
        )
        return (yield from reading)

    return step
