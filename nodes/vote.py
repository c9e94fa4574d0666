"""A community LM votes: its own probability of every option, with no comment in between."""

from __future__ import annotations

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import Community, failure
from modular_pluralism.nodes.read_options import group_prompt, group_prompts, read_options
from modular_pluralism.nodes.render import one_line, quoted
from modular_pluralism.nodes.step import Body, State, Steps, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring


@step_maker(prompts=group_prompts("vote"))
def vote(
    community: Community,
    models: PoolModels,
    prompts: PromptSet,
    *,
    scoring: Scoring,
    samples: int,
    into: str = "distributions",
) -> Body:
    """Step that writes the community's own distribution, to `into` of the state under its name.

    A question's attribute is told, since the vote is that of those people. A community that fails leaves a comment with
    the error instead, and so counts as missing.
    """

    def step(state: State) -> Steps:
        # Opened here, so that a pool that cannot work ends the run and does not pass for a silent community.
        model = models.community(community.name)
        known = {"question": quoted(state["question"])}
        if state.get("attribute"):
            known["attribute"] = one_line(state["attribute"])
        try:
            distribution = yield from read_options(
                model,
                state["options"],
                prompts,
                group_prompt("vote", "attribute" in known, scoring),
                known,
                scoring=scoring,
                samples=samples,
                seed=derive_seed(state.get("seed") or 0, "vote", community.name),
                persona=community.persona,
            )
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            return failure(state, community.name, error)
        return {into: {community.name: distribution}}

    return step
