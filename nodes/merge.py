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
from modular_pluralism.nodes.structured import SCHEMA_PROMPTS, structured
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
    """Step that writes `answer`, `usage` (its cost, and how it finished) and `missing`; with a schema `structured`,
    too, which follows it."""

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        model = models.base()
        messages = fill(prompts["merge"], state, comments=comment_lines(prompts, present.comments))
        seed, missing = derive_seed(state.get("seed") or 0, "merge"), present.missing
        if schema is not None:
            reply, value = yield from structured(model, messages, schema, prompts, max_tokens=max_tokens, seed=seed)
            return {"answer": reply["text"], "structured": value, "usage": ask.usage(reply), "missing": missing}
        outcome = yield ask.text(model, messages, max_tokens=max_tokens, seed=seed)
        reply = ask.reply(outcome, model.place)
        return {"answer": reply["text"], "usage": ask.usage(reply), "missing": missing}

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
