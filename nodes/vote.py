"""A community LM votes: its own probability of every option, with no comment in between."""

from __future__ import annotations

from langchain_core.messages import BaseMessage

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import Community, failed
from modular_pluralism.nodes.persona import with_persona
from modular_pluralism.nodes.read_options import read_by_label, read_by_text
from modular_pluralism.nodes.render import one_line, option_lines, quoted
from modular_pluralism.nodes.step import State, Step, Steps, derive_seed
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Comment, OptionDistribution, Scoring


def vote(
    community: Community,
    models: PoolModels,
    prompts: PromptSet,
    *,
    scoring: Scoring,
    samples: int,
    into: str = "distributions",
) -> Step:
    """Step that writes the community's own distribution, to `into` of the state under its name.

    A question's attribute is told, since the vote is that of those people. A community that fails leaves a comment with
    the error instead, and so counts as missing.
    """

    def step(state: State) -> Steps:
        # Opened here, so that a pool that cannot work ends the run and does not pass for a silent community.
        model = models.community(community.name)
        options = state["options"]
        known = {"question": quoted(state["question"])}
        of_group = "_group" if state.get("attribute") else ""
        if of_group:
            known["attribute"] = one_line(state["attribute"])

        def lettered(order: list[str]) -> list[BaseMessage]:
            prompt = prompts[f"vote{of_group}"].render(**known, options=option_lines(prompts, order))
            return with_persona(community.persona, prompt)

        try:
            if scoring == "text":
                prompt = with_persona(community.persona, prompts[f"vote{of_group}_text"].render(**known))
                distribution: OptionDistribution = yield from read_by_text(model, options, prompt)
            else:
                distribution = yield from read_by_label(
                    model,
                    options,
                    lambda order: lettered(list(order)),
                    rotate=scoring == "rotate",
                    samples=samples,
                    seed=derive_seed(state.get("seed") or 0, "vote", community.name),
                )
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            said: Comment = (state.get("comments") or {}).get(community.name) or failed(community.name, "")
            return {"comments": {community.name: {**said, "error": str(error)}}}
        return {into: {community.name: distribution}}

    return step
