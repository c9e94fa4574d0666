"""The base LLM writes its answer: a text, one that follows a schema, or calls of tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from modular_pluralism.llama.reply_schema import ReplySchema
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.structured import structured
from modular_pluralism.nodes.tools import tool_calls, tool_turns, tools_of
from modular_pluralism.prompts import PromptSet


def written(
    model: PoolModel,
    asked: Mapping[str, Any],
    messages: Sequence[BaseMessage],
    prompts: PromptSet,
    *,
    schema: ReplySchema | None,
    max_tokens: int,
    seed: int,
) -> ask.Asking[dict[str, Any]]:
    """What a step writes of the reply to these messages: `answer`, and `usage`; with a schema `structured`, too, and
    where the question has tools and the reply calls some, `tool_calls`, beside which the answer may be empty.

    What tools have returned since the question stands below the messages, each in a message of its own.
    """
    if schema is not None:
        reply, value = yield from structured(model, messages, schema, prompts, max_tokens=max_tokens, seed=seed)
        return {"answer": reply["text"], "structured": value, "usage": ask.usage(reply)}
    tools, told = tools_of(asked), [*messages, *tool_turns(asked)]
    outcome = yield ask.text(model, told, tools=tools, max_tokens=max_tokens, seed=seed)
    calls = [] if tools is None else tool_calls(outcome.value, model.place)
    reply = ask.reply(outcome, model.place, calls=bool(calls))
    return {"answer": reply["text"], "usage": ask.usage(reply), **({"tool_calls": calls} if calls else {})}
