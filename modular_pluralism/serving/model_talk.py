"""Chats with a community LM or the base LLM, embedded or remote."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage

from modular_pluralism.errors import ModelCallError, PluralismError
from modular_pluralism.llama import ChatLlama
from modular_pluralism.models.calls import Caller, describe
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.nodes.render import with_persona
from modular_pluralism.serving.answers import Answer, Choice, Delta, End, Event, Tokens
from modular_pluralism.serving.concurrency import all_of, called, pumped
from modular_pluralism.serving.sampling import seed_of, seed_of_choice, top_p_of
from modular_pluralism.serving.schemas import ChatRequest

USUAL_TOKENS = 512
"""The longest answer where a request names no limit."""


class ModelTalk:
    """Implements Talker. `open_model` is called in the event loop that uses the model, as remote ones need it."""

    def __init__(self, open_model: Callable[[], PoolModel], persona: str | None, caller: Caller, most: int) -> None:
        self._open_model = open_model
        self._persona = persona
        self._caller = caller
        self._usual_tokens = min(USUAL_TOKENS, most)

    async def answer(self, request: ChatRequest) -> Answer:
        """See Talker."""
        model, seed = self._open_model(), seed_of(request.seed)
        messages, settings = with_persona(self._persona, request.turns()), self._settings(model, request)
        seeds = [seed_of_choice(seed, index) for index in range(request.choices)]
        replies = await all_of([self._once(model, messages, {**settings, "seed": own}) for own in seeds])
        choices = [
            Choice(str(reply.text), _finish_reason(reply.response_metadata, model), _logprobs(reply))
            for reply in replies
        ]
        costs = [_tokens(reply).of_choice(index) for index, reply in enumerate(replies)]
        return Answer(choices, sum(costs, Tokens()), {"seed": seed})

    async def stream(self, request: ChatRequest) -> AsyncIterator[Event]:
        """See Talker."""
        model, seed = self._open_model(), seed_of(request.seed)
        messages, settings = with_persona(self._persona, request.turns()), self._settings(model, request)
        streams = [
            self._stream_one(model, messages, {**settings, "seed": seed_of_choice(seed, index)}, index, {"seed": seed})
            for index in range(request.choices)
        ]
        async with pumped(*streams) as events:
            async for event in events:
                yield event

    async def _once(self, model: PoolModel, messages: list[BaseMessage], settings: dict[str, Any]) -> AIMessage:
        return await called(self._caller, model.place, lambda: model.chat.ainvoke(messages, **settings))

    async def _stream_one(
        self, model: PoolModel, messages: list[BaseMessage], settings: dict[str, Any], index: int, facts: dict[str, Any]
    ) -> AsyncIterator[Event]:
        info: dict[str, Any] = {}
        tokens = Tokens()

        async def begin() -> tuple[AsyncIterator[AIMessageChunk], AIMessageChunk | None]:
            chunks = model.chat.astream(messages, **settings)
            return chunks, await anext(chunks, None)

        # Until something has been told, another try does no harm.
        chunks, chunk = await called(self._caller, model.place, begin)
        try:
            while chunk is not None:
                logprobs = _logprobs(chunk)
                if chunk.text or logprobs:
                    yield Delta(index, str(chunk.text), logprobs)
                info |= {key: value for key, value in chunk.response_metadata.items() if key == "finish_reason"}
                tokens += _tokens(chunk)
                chunk = await anext(chunks, None)
        except PluralismError:
            raise
        except Exception as error:
            raise ModelCallError(f"{model.place} failed: {describe(error)}.") from error
        yield End(index, _finish_reason(info, model), tokens.of_choice(index), facts)

    def _settings(self, model: PoolModel, request: ChatRequest) -> dict[str, Any]:
        embedded = isinstance(model.chat, ChatLlama)
        settings: dict[str, Any] = {"max_tokens": request.most_tokens or self._usual_tokens}
        if request.temperature is not None:
            settings["temperature"] = request.temperature
        if request.top_p is not None:
            settings["top_p"] = top_p_of(request.top_p) if embedded else request.top_p
        if request.stop:
            settings["stop"] = request.stop
        if request.logprobs:
            settings |= {"logprobs": True, "top_logprobs": request.top_logprobs or 0}
        return settings | _format_settings(request, embedded=embedded)


def _format_settings(request: ChatRequest, *, embedded: bool) -> dict[str, Any]:
    """Call settings that make a model keep to the request's `response_format`.

    Raises:
        InputError: the schema cannot be used.
    """
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return {}
    if not embedded:
        return {"extra_body": {"response_format": wanted.model_dump(by_alias=True, exclude_none=True)}}
    from modular_pluralism.llama.grammar import JSON_OBJECT, grammar_of_schema

    if wanted.json_schema is None:
        return {"grammar": JSON_OBJECT}
    return {"grammar": grammar_of_schema(wanted.json_schema.definition)}


def _finish_reason(info: dict[str, Any], model: PoolModel) -> str:
    reason = info.get("finish_reason")
    if not reason:
        raise ModelCallError(f"{model.place} broke off before the end of its reply.")
    return str(reason)


def _logprobs(message: AIMessage | AIMessageChunk) -> dict[str, Any] | None:
    content = (message.response_metadata.get("logprobs") or {}).get("content")
    return {"content": content, "refusal": None} if content else None


def _tokens(message: AIMessage | AIMessageChunk) -> Tokens:
    usage: Any = message.usage_metadata or {}
    cached = int((usage.get("input_token_details") or {}).get("cache_read") or 0)
    return Tokens(int(usage.get("input_tokens", 0)), cached, int(usage.get("output_tokens", 0)))
