"""Chats with a community LM or the base LLM, embedded or remote."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.runnables import Runnable

from modular_pluralism.errors import InputError, ModelCallError, PluralismError
from modular_pluralism.llama import ChatLlama
from modular_pluralism.models.calls import Caller, describe
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.models.redaction import KeylessChunks, keyless_message
from modular_pluralism.models.reply_parts import TokenCounts, logprobs_of
from modular_pluralism.nodes.render import with_persona
from modular_pluralism.serving.answers import Delta, End, Event, Tokens
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.concurrency import called, pumped
from modular_pluralism.serving.schemas import ChatRequest, Effort, seed_of_choice

USUAL_TOKENS = 512
"""The longest answer where a request names no limit."""


class ModelTalk:
    """Implements Talker. `open_model` is called in the event loop that uses the model, as remote ones need it."""

    def __init__(self, open_model: Callable[[], PoolModel], persona: str | None, caller: Caller, most: int) -> None:
        self._open_model = open_model
        self._persona = persona
        self._caller = caller
        self._usual_tokens = min(USUAL_TOKENS, most)

    async def events(self, request: ChatRequest) -> AsyncIterator[Event]:
        """See Talker."""
        model, seed = self._thinking(self._open_model(), request.reasoning_effort), request.first_seed()
        chat, messages, settings = await asyncio.to_thread(self._call, model, request)

        async def begin(own: int) -> tuple[AsyncIterator[AIMessage] | None, AIMessage | None]:
            if not request.stream:
                return None, keyless_message(await chat.ainvoke(messages, **settings, seed=own))
            chunks = _keyless(chat.astream(messages, **settings, seed=own))
            return chunks, await anext(chunks, None)

        async def choice(index: int) -> AsyncIterator[Event]:
            info: dict[str, Any] = {}
            tokens = Tokens()
            # Until something has been told, another try does no harm.
            chunks, message = await called(self._caller, model.place, lambda: begin(seed_of_choice(seed, index)))
            try:
                while message is not None:
                    logprobs, calls = _logprobs(message), _calls(message)
                    reasoning = str(message.additional_kwargs.get("reasoning_content") or "")
                    if message.text or logprobs or reasoning or calls:
                        yield Delta(index, str(message.text), logprobs, reasoning, calls)
                    info |= {key: value for key, value in message.response_metadata.items() if key == "finish_reason"}
                    tokens += Tokens.of(TokenCounts.of(message))
                    message = None if chunks is None else await anext(chunks, None)
            except PluralismError:
                raise
            except Exception as error:
                raise ModelCallError(f"{model.place} failed: {describe(error)}.") from error
            facts = {} if model.leaves_out(["seed"]) else {"seed": seed}
            yield End(index, _finish_reason(info, model), tokens.of_choice(index), facts)

        async with pumped(*map(choice, range(request.choices))) as events:
            async for event in events:
                yield event

    def _call(
        self, model: PoolModel, request: ChatRequest
    ) -> tuple[Runnable[Any, AIMessage], list[BaseMessage], dict[str, Any]]:
        """What is called, with the messages and the settings; making a grammar takes its time."""
        _refuse_what_is_left_out(model, request)
        tools = request.tool_settings()
        try:
            chat = model.with_tools(tools["tools"], tools.get("tool_choice")) if tools else model.chat
        except InputError as error:
            raise ApiError(400, str(error), param="tools") from None
        return chat, with_persona(self._persona, request.turns()), self._settings(model, request)

    def _settings(self, model: PoolModel, request: ChatRequest) -> dict[str, Any]:
        embedded = isinstance(model.chat, ChatLlama)
        asked = {
            "max_tokens": request.most_tokens or self._usual_tokens,
            "temperature": request.temperature,
            "top_p": request.engine_top_p if embedded else request.top_p,
            "stop": request.stop or None,
        }
        settings: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
        if request.logprobs:
            settings |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
        if not embedded and request.reasoning_effort is not None:
            settings["reasoning_effort"] = request.reasoning_effort
        if request.tool_settings() and not embedded and request.parallel_tool_calls is not None:
            settings["parallel_tool_calls"] = request.parallel_tool_calls
        return settings | _format_settings(request, embedded=embedded)

    @staticmethod
    def _thinking(model: PoolModel, effort: Effort | None) -> PoolModel:
        """The model, which thinks or not as a request wants it."""
        if effort is None or not isinstance(model.chat, ChatLlama):
            return model
        return replace(model, chat=model.chat.with_effort(effort))


def _refuse_what_is_left_out(model: PoolModel, request: ChatRequest) -> None:
    """Raise ApiError, 400, where the request has what an agent of the application's own, or a provider's class, is
    never given."""
    wanted = {
        **request.model_dump(include=_CALL_FIELDS, exclude_none=True),
        **({"response_format": True} if request.format != "text" else {}),
        **request.tool_settings(),
    }
    for name in model.leaves_out(name for name, value in wanted.items() if value not in (False, [])):
        raise ApiError(
            400,
            f"{name} is not supported by {model.place}, which answers as its application has set it up; leave it out.",
            param=name,
            code="unsupported_field",
        )


_CALL_FIELDS = {
    *("max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "logprobs", "top_logprobs"),
    "reasoning_effort",
}


def _format_settings(request: ChatRequest, *, embedded: bool) -> dict[str, Any]:
    """Call settings that make a model keep to the request's `response_format`.

    Raises:
        ApiError: 400, the schema cannot be used.
    """
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return {}
    if not embedded:
        return {"extra_body": {"response_format": wanted.model_dump(by_alias=True, exclude_none=True)}}
    from modular_pluralism.llama.grammar import JSON_OBJECT, grammar_of_schema

    if wanted.json_schema is None:
        return {"grammar": JSON_OBJECT}
    try:
        return {"grammar": grammar_of_schema(wanted.json_schema.definition)}
    except InputError as error:
        raise ApiError(400, str(error), param="response_format.json_schema.schema") from None


async def _keyless(messages: AsyncIterator[AIMessage]) -> AsyncIterator[AIMessage]:
    parts = KeylessChunks()
    async for message in messages:
        yield parts.passed(message) if isinstance(message, AIMessageChunk) else keyless_message(message)
    if (rest := parts.rest()) is not None:
        yield rest


def _finish_reason(info: dict[str, Any], model: PoolModel) -> str:
    reason = info.get("finish_reason")
    if not reason:
        raise ModelCallError(f"{model.place} broke off before the end of its reply.")
    return str(reason)


def _logprobs(message: AIMessage) -> dict[str, Any] | None:
    content = logprobs_of(message)
    return {"content": content, "refusal": None} if content else None


def _calls(message: AIMessage) -> list[dict[str, Any]]:
    """Calls of tools as OpenAI has them: of a chunk, what has come of them."""
    if isinstance(message, AIMessageChunk):
        return [_call(part, part["index"] or 0, part["args"]) for part in message.tool_call_chunks]
    whole = [(call, json.dumps(call["args"], ensure_ascii=False)) for call in message.tool_calls]
    broken = [(call, call["args"]) for call in message.invalid_tool_calls]
    return [_call(call, place, text) for place, (call, text) in enumerate([*whole, *broken])]


def _call(call: Any, index: int | str, arguments: str | None) -> dict[str, Any]:
    begun = {"id": call["id"], "type": "function"} if call["id"] else {}
    named = {"name": call["name"]} if call["name"] else {}
    return {"index": index, **begun, "function": {**named, "arguments": arguments or ""}}
