"""Distributional: the base LLM's probability of every option, given one community's comment (section 3)."""

from __future__ import annotations

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.read_options import read_by_label, read_by_text
from modular_pluralism.nodes.render import one_line, option_lines, quoted
from modular_pluralism.nodes.step import State, Step, Steps, derive_seed
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Comment, OptionDistribution, Scoring


def score(community: str, models: PoolModels, prompts: PromptSet, *, scoring: Scoring, samples: int) -> Step:
    """Step that writes `distributions[community]`.

    Where the distribution cannot be read, the community's comment gets an error instead, and so counts as missing.
    """

    def step(state: State) -> Steps:
        said: Comment = state["comments"][community]
        model = models.base()
        options = state["options"]
        known = {"question": quoted(state["question"]), "comment": one_line(said["text"])}
        of_group = "_group" if state.get("attribute") else ""
        if of_group:
            known["attribute"] = one_line(state["attribute"])
        try:
            if scoring == "text":
                prompt = prompts[f"score{of_group}_text"].render(**known)
                distribution: OptionDistribution = yield from read_by_text(model, options, prompt)
            else:
                distribution = yield from read_by_label(
                    model,
                    options,
                    lambda order: prompts[f"score{of_group}"].render(**known, options=option_lines(prompts, order)),
                    rotate=scoring == "rotate",
                    samples=samples,
                    seed=derive_seed(state.get("seed") or 0, "score", community),
                )
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            return {"comments": {community: {**said, "error": str(error)}}}
        return {"distributions": {community: distribution}}

    return step
