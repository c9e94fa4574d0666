"""Answers in the form of OpenAI's API."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

import modular_pluralism
from modular_pluralism.serving.answers import Answer, Delta, Event, Talker, Tokens
from modular_pluralism.serving.request_log import Exchange
from modular_pluralism.serving.schemas import ChatRequest, TextRequest

FINGERPRINT = f"modular-pluralism-{modular_pluralism.__version__}"
R = TypeVar("R", bound=TextRequest)


async def whole_answer(talker: Talker[R], request: R, exchange: Exchange) -> dict[str, Any]:
    """The response as one object."""
    answer = await talker.answer(request)
    exchange.tokens, exchange.missing = answer.tokens, list(answer.facts.get("missing") or ())
    return _Response(request).whole(answer)


async def answer_chunks(talker: Talker[R], request: R, exchange: Exchange) -> AsyncIterator[dict[str, Any]]:
    """The response in chunks."""
    response = _Response(request)
    async with aclosing(talker.stream(request)) as events:  # type: ignore[type-var]
        async for event in events:
            if not isinstance(event, Delta):
                exchange.tokens += event.tokens
                exchange.missing = list(event.facts.get("missing") or ())
            for chunk in response.chunks(event):
                yield chunk
    if request.with_usage:
        yield response.cost(exchange.tokens)


class _Response:
    """What every part of one response has in common, and what chats have otherwise than raw completions."""

    def __init__(self, request: TextRequest) -> None:
        self._chat = isinstance(request, ChatRequest)
        self._kind = "chat.completion" if self._chat else "text_completion"
        self._begun: set[int] = set()
        self._same = {
            "id": f"{'chatcmpl' if self._chat else 'cmpl'}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": request.model,
            "system_fingerprint": FINGERPRINT,
            # Where the last chunk tells what the answer cost, those before it say that they do not.
            **({"usage": None} if request.with_usage else {}),
        }

    def whole(self, answer: Answer) -> dict[str, Any]:
        choices = []
        for index, choice in enumerate(answer.choices):
            message = {"role": "assistant", "content": choice.text, "refusal": None}
            text = {"message": message} if self._chat else {"text": choice.text}
            choices.append(_choice(index, text, choice.logprobs, choice.finish_reason))
        return self._put(self._kind, choices, usage=answer.tokens.usage(), pluralism=answer.facts)

    def chunks(self, event: Event) -> Iterator[dict[str, Any]]:
        if self._chat and event.index not in self._begun:
            self._begun.add(event.index)
            yield self._chunk(_choice(event.index, {"delta": {"role": "assistant", "content": ""}}))
        if isinstance(event, Delta):
            text = {"delta": {"content": event.text}} if self._chat else {"text": event.text}
            yield self._chunk(_choice(event.index, text, event.logprobs))
        else:
            nothing: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
            end = _choice(event.index, nothing, finish_reason=event.finish_reason)
            yield self._chunk(end, pluralism=event.facts)

    def cost(self, tokens: Tokens) -> dict[str, Any]:
        return self._chunk(usage=tokens.usage())

    def _chunk(self, *choices: dict[str, Any], **more: Any) -> dict[str, Any]:
        # Chunks of raw completions are called as the whole is.
        return self._put("chat.completion.chunk" if self._chat else self._kind, list(choices), **more)

    def _put(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        return {"object": kind, **self._same, "choices": choices, **more}


def _choice(
    index: int, text: dict[str, Any], logprobs: dict[str, Any] | None = None, finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, **text, "logprobs": logprobs, "finish_reason": finish_reason}
