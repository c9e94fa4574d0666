"""Mixture of experts, a baseline: the base LLM picks one community by its description (section 4 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.pick import pick
from modular_pluralism.nodes.render import expert_lines, fill
from modular_pluralism.nodes.step import Body, State, Steps, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet


@step_maker(prompts=["route", "numbered_expert"])
def route(models: PoolModels, prompts: PromptSet, *, descriptions: Mapping[str, str]) -> Body:
    """Step that writes `selected`: the one of the communities that is to comment."""

    def step(state: State) -> Steps:
        experts = expert_lines(prompts, list(descriptions.values()))
        messages = fill(prompts["route"], state, experts=experts)
        seed = derive_seed(state.get("seed") or 0, "route")
        return {"selected": (yield from pick(models.base(), messages, list(descriptions), seed))}

    return step
