"""An answer that follows a schema: kept to it by a grammar or by the endpoint, or asked for until it does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage

from modular_pluralism.errors import ModelCallError, NoUsableReplyError
from modular_pluralism.llama.reply_schema import ReplySchema
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.models.refusals import refuses_schema
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.step import derive_seed
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Reply

SCHEMA_PROMPTS = ("answer_schema", "answer_schema_again")
"""The prompts that `structured` uses."""
_TRIES = 3
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", re.DOTALL | re.IGNORECASE)


def structured(
    model: PoolModel,
    messages: Sequence[BaseMessage],
    schema: ReplySchema,
    prompts: PromptSet,
    *,
    max_tokens: int,
    seed: int,
) -> ask.Asking[tuple[Reply, Any]]:
    """The reply, and the plain value that its text is.

    A model that can be kept to the schema is. Another is told it, and asked again where its reply does not follow it.

    Raises:
        NoUsableReplyError: no reply of so many does.
    """
    kept, tries, problem = model.takes_schema, 0, ""
    while tries < _TRIES:
        asked = list(messages) if kept else _told(messages, schema, prompts, problem)
        settings: dict[str, Any] = {"response_format": schema.response_format} if kept else {}
        try:
            # Only what is sure to be the answer is told while it is written.
            outcome = yield ask.text(
                model,
                asked,
                streamed=kept and not tries,
                max_tokens=max_tokens,
                seed=derive_seed(seed, "structured", tries) if tries else seed,
                **settings,
            )
        except ModelCallError as error:
            if not (kept and refuses_schema(error.__cause__)):
                raise
            kept = False
            continue
        tries += 1
        reply = ask.reply(outcome, model.place)
        text = reply["text"] if kept else _unfenced(reply["text"])
        try:
            return Reply(**{**reply, "text": text}), schema.plain(text)
        except NoUsableReplyError as error:
            problem = error.problem
            if reply["finish_reason"] == "length":
                problem = f"it was cut off at {max_tokens} tokens; raise answer_tokens"
    raise NoUsableReplyError(
        f"{model.place} wrote no {schema.name} in {_TRIES} replies ({problem}); simplify the schema, or use a base LLM "
        "that follows instructions.",
        _TRIES,
    )


def _told(messages: Sequence[BaseMessage], schema: ReplySchema, prompts: PromptSet, problem: str) -> list[BaseMessage]:
    """The messages, of which the last one ends with the schema."""
    if problem:
        told = prompts["answer_schema_again"].render_text(schema=schema.text, problem=problem)
    else:
        told = prompts["answer_schema"].render_text(schema=schema.text)
    *before, last = messages
    return [*before, HumanMessage(f"{last.text}\n\n{told}")]


def _unfenced(text: str) -> str:
    """The text without the fence that models like to put around code."""
    match = _FENCED.fullmatch(text)
    return match[1].strip() if match else text
