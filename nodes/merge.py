"""Overton: the base LLM merges the comments into one answer that covers the spectrum of views (section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modular_pluralism.llama.reply_schema import ReplySchema
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.own import heard
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.render import comment_lines, fill
from modular_pluralism.nodes.step import Body, QuestionParts, State, Steps, derive_seed, step_maker
from modular_pluralism.nodes.structured import SCHEMA_PROMPTS
from modular_pluralism.nodes.writing import written
from modular_pluralism.prompts import PromptSet


def _prompts(_: QuestionParts, arguments: Mapping[str, Any]) -> Sequence[str]:
    return ["merge", "numbered_comment", *(SCHEMA_PROMPTS if arguments["schema"] else ())]


@step_maker(prompts=_prompts)
def merge(
    models: PoolModels,
    prompts: PromptSet,
    *,
    communities: Sequence[str],
    quorum: int,
    max_tokens: int,
    schema: ReplySchema | None = None,
) -> Body:
    """Step that writes `answer`, `usage` (its cost, and how it finished) and `missing`, and what else `written`
    says."""

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        model = models.base()
        messages = fill(prompts["merge"], state, comments=comment_lines(prompts, present.comments))
        seed = derive_seed(state.get("seed") or 0, "merge")
        how: Any = {"schema": schema, "max_tokens": max_tokens, "seed": seed}
        answer = yield from written(model, state, messages, prompts, **how)
        return {**answer, "missing": present.missing}

    return step


@step_maker()
def own_merge(part: OwnPart, *, communities: Sequence[str], quorum: int) -> Body:
    """Step that writes the same, as a part of the application's own has merged the comments."""

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        outcome = yield ask.own(part, heard(state, present, "merge"))
        reply = ask.own_reply(outcome, part.place)
        return {"answer": reply["text"], "usage": ask.usage(reply), "missing": present.missing}

    return step
