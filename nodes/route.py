"""Mixture of experts, a baseline: the base LLM picks one community by its description (section 4 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.pick import pick
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.render import expert_lines, one_line, quoted
from modular_pluralism.nodes.step import Body, State, Steps, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet


@step_maker(prompts=["route", "numbered_expert"])
def route(models: PoolModels, prompts: PromptSet, *, descriptions: Mapping[str, str]) -> Body:
    """Step that writes `selected`: the one of the communities that is to comment."""

    def step(state: State) -> Steps:
        messages = prompts["route"].render(
            question=quoted(state["question"]), experts=expert_lines(prompts, list(descriptions.values()))
        )
        seed = derive_seed(state.get("seed") or 0, "route")
        return {"selected": (yield from pick(models.base(), messages, list(descriptions), seed))}

    return step


def expert_comment(state: State) -> str:
    """What the picked community said, on one line.

    Raises:
        QuorumError: it failed, and there is nobody else.
    """
    present = attendance(state, [state["selected"]["community"]], 1)
    return one_line(present.comments[0]["text"])
