"""Chats: from a request to the objects that are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from modular_pluralism.serving.answers import Delta, End, Talker, Tokens
from modular_pluralism.serving.request_log import Exchange
from modular_pluralism.serving.responses import Frame, chat_begin, chat_delta, chat_end, chat_response, usage_chunk
from modular_pluralism.serving.schemas import ChatRequest


async def whole_chat(talker: Talker, request: ChatRequest, exchange: Exchange) -> dict[str, Any]:
    """The response as one object."""
    answer = await talker.answer(request)
    exchange.tokens, exchange.missing = answer.tokens, list(answer.facts.get("missing") or ())
    return chat_response(Frame(request.model, "chat.completion"), answer)


async def chat_chunks(talker: Talker, request: ChatRequest, exchange: Exchange) -> AsyncIterator[dict[str, Any]]:
    """The response in chunks."""
    frame = Frame(request.model, "chat.completion", with_usage=request.with_usage)
    begun: set[int] = set()
    async with aclosing(talker.stream(request)) as events:  # type: ignore[type-var]
        async for event in events:
            if event.index not in begun:
                begun.add(event.index)
                yield chat_begin(frame, event.index)
            if isinstance(event, Delta):
                yield chat_delta(frame, event)
            else:
                _count(exchange, event)
                yield chat_end(frame, event)
    if request.with_usage:
        yield usage_chunk(frame, exchange.tokens)


def _count(exchange: Exchange, end: End) -> None:
    """A prompt counts once, however many choices there are."""
    known = exchange.tokens
    first = end.tokens if known == Tokens() else known
    exchange.tokens = Tokens(first.prompt, first.cached, known.completion + end.tokens.completion)
    exchange.missing = list(end.facts.get("missing") or ())
