"""Distributional: the base LLM's probability of every option, given one community's comment (section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import failure
from modular_pluralism.nodes.read_options import read_by_label, read_by_text
from modular_pluralism.nodes.render import one_line, option_lines, quoted
from modular_pluralism.nodes.step import Body, QuestionParts, State, Steps, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import OptionDistribution, Scoring


def _prompts(question: QuestionParts, arguments: Mapping[str, Any]) -> Sequence[str]:
    name = _prompt(question.attribute, arguments["scoring"])
    return [name] if arguments["scoring"] == "text" else [name, "option"]


def _prompt(attribute: bool, scoring: Scoring) -> str:
    return f"score{'_group' if attribute else ''}{'_text' if scoring == 'text' else ''}"


@step_maker(prompts=_prompts)
def score(community: str, models: PoolModels, prompts: PromptSet, *, scoring: Scoring, samples: int) -> Body:
    """Step that writes `distributions[community]`.

    Where the distribution cannot be read, the community's comment gets an error instead, and so counts as missing.
    """

    def step(state: State) -> Steps:
        model = models.base()
        options = state["options"]
        known = {"question": quoted(state["question"]), "comment": one_line(state["comments"][community]["text"])}
        if state.get("attribute"):
            known["attribute"] = one_line(state["attribute"])
        prompt = prompts[_prompt("attribute" in known, scoring)]
        try:
            if scoring == "text":
                distribution: OptionDistribution = yield from read_by_text(model, options, prompt.render(**known))
            else:
                distribution = yield from read_by_label(
                    model,
                    options,
                    lambda order: prompt.render(**known, options=option_lines(prompts, order)),
                    rotate=scoring == "rotate",
                    samples=samples,
                    seed=derive_seed(state.get("seed") or 0, "score", community),
                )
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            return failure(state, community, error)
        return {"distributions": {community: distribution}}

    return step
