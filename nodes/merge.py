"""Overton: the base LLM merges the comments into one answer that covers the spectrum of views (section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.own import ask_own, heard
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.render import comment_lines, fill
from modular_pluralism.nodes.step import Body, State, Steps, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet


@step_maker(prompts=["merge", "numbered_comment"])
def merge(models: PoolModels, prompts: PromptSet, *, communities: Sequence[str], quorum: int, max_tokens: int) -> Body:
    """Step that writes `answer`, `usage` (its cost, and how it finished) and `missing`."""

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        model = models.base()
        messages = fill(prompts["merge"], state, comments=comment_lines(prompts, present.comments))
        outcome = yield ask.text(
            model, messages, max_tokens=max_tokens, seed=derive_seed(state.get("seed") or 0, "merge")
        )
        reply = ask.reply(outcome, model.place)
        return {"answer": reply["text"], "usage": ask.usage(reply), "missing": present.missing}

    return step


@step_maker()
def own_merge(part: OwnPart, *, communities: Sequence[str], quorum: int) -> Body:
    """Step that writes the same, as a part of the application's own has merged the comments."""

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        outcome = yield from ask_own(part, heard(state, present, "merge"))
        reply = ask.own_reply(outcome, part.place)
        return {"answer": reply["text"], "usage": ask.usage(reply), "missing": present.missing}

    return step
