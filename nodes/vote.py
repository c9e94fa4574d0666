"""A community LM votes: its own probability of every option, with no comment in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import Community, failure
from modular_pluralism.nodes.persona import with_persona
from modular_pluralism.nodes.read_options import read_by_label, read_by_text
from modular_pluralism.nodes.render import one_line, option_lines, quoted
from modular_pluralism.nodes.step import Body, QuestionParts, State, Steps, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import OptionDistribution, Scoring


def _prompts(question: QuestionParts, arguments: Mapping[str, Any]) -> Sequence[str]:
    name = _prompt(question.attribute, arguments["scoring"])
    return [name] if arguments["scoring"] == "text" else [name, "option"]


def _prompt(attribute: bool, scoring: Scoring) -> str:
    return f"vote{'_group' if attribute else ''}{'_text' if scoring == 'text' else ''}"


@step_maker(prompts=_prompts)
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
        options = state["options"]
        known = {"question": quoted(state["question"])}
        if state.get("attribute"):
            known["attribute"] = one_line(state["attribute"])
        prompt = prompts[_prompt("attribute" in known, scoring)]

        def lettered(order: Sequence[str]) -> list[BaseMessage]:
            return with_persona(community.persona, prompt.render(**known, options=option_lines(prompts, order)))

        try:
            if scoring == "text":
                messages = with_persona(community.persona, prompt.render(**known))
                distribution: OptionDistribution = yield from read_by_text(model, options, messages)
            else:
                distribution = yield from read_by_label(
                    model,
                    options,
                    lettered,
                    rotate=scoring == "rotate",
                    samples=samples,
                    seed=derive_seed(state.get("seed") or 0, "vote", community.name),
                )
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            return failure(state, community.name, error)
        return {into: {community.name: distribution}}

    return step
