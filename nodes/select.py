"""Steerable: a selector picks the comment that best reflects the attribute (section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.pick import pick
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.render import comment_lines, fill
from modular_pluralism.nodes.step import Body, State, Steps, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet


@step_maker(prompts=["select", "numbered_comment"])
def select(models: PoolModels, prompts: PromptSet, *, communities: Sequence[str], quorum: int) -> Body:
    """Step that writes `selected` and `missing`."""

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        messages = fill(prompts["select"], state, comments=comment_lines(prompts, present.comments))
        names = [comment["community"] for comment in present.comments]
        selected = yield from pick(models.base(), messages, names, derive_seed(state.get("seed") or 0, "select"))
        return {"selected": selected, "missing": present.missing}

    return step
