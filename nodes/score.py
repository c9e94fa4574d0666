"""Distributional: the base LLM's probability of every option, given one community's comment (section 3)."""

from __future__ import annotations

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import failure
from modular_pluralism.nodes.read_options import group_prompt, group_prompts, read_options
from modular_pluralism.nodes.render import one_line, quoted
from modular_pluralism.nodes.step import Body, State, Steps, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring


@step_maker(prompts=group_prompts("score"))
def score(community: str, models: PoolModels, prompts: PromptSet, *, scoring: Scoring, samples: int) -> Body:
    """Step that writes `distributions[community]`.

    Where the distribution cannot be read, the community's comment gets an error instead, and so counts as missing.
    """

    def step(state: State) -> Steps:
        model = models.base()
        known = {"question": quoted(state["question"]), "comment": one_line(state["comments"][community]["text"])}
        if state.get("attribute"):
            known["attribute"] = one_line(state["attribute"])
        try:
            distribution = yield from read_options(
                model,
                state["options"],
                prompts,
                group_prompt("score", "attribute" in known, scoring),
                known,
                scoring=scoring,
                samples=samples,
                seed=derive_seed(state.get("seed") or 0, "score", community),
            )
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            return failure(state, community, error)
        return {"distributions": {community: distribution}}

    return step
