"""Steerable: the base LLM answers, conditioned on the selected comment (section 3)."""

from __future__ import annotations

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.answer import answer
from modular_pluralism.nodes.render import one_line, quoted
from modular_pluralism.nodes.step import State, Step
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring


def respond(models: PoolModels, prompts: PromptSet, *, max_tokens: int, scoring: Scoring, samples: int) -> Step:
    """Step that writes what `answer` writes, in line with the attribute."""

    def known(state: State) -> dict[str, str]:
        return {
            "question": quoted(state["question"]),
            "attribute": one_line(state["attribute"]),
            "comment": one_line(state["comments"][state["selected"]["community"]]["text"]),
        }

    return answer(models, prompts, "respond", known=known, max_tokens=max_tokens, scoring=scoring, samples=samples)
