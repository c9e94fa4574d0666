"""Answers in the form of OpenAI's API."""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import modular_pluralism
from modular_pluralism.serving.answers import Delta, End, Event, Known, Tokens, fact_headers
from modular_pluralism.serving.request_log import Exchange
from modular_pluralism.serving.schemas import ChatRequest, TextRequest

FINGERPRINT = f"modular-pluralism-{modular_pluralism.__version__}"


async def response_parts(
    events: AsyncIterator[Event], request: TextRequest, exchange: Exchange
) -> AsyncIterator[dict[str, Any]]:
    """The response: one object, or the chunks of a stream where that is asked for."""
    response, told = _Response(request), list[Delta | End]()
    async for event in noted(events, exchange):
        if not request.stream:
            told.append(event)
            continue
        for chunk in response.chunks(event):
            yield chunk
    if not request.stream:
        yield response.whole(told, exchange.tokens)
    elif request.with_usage:
        yield response.cost(exchange.tokens)


async def noted(events: AsyncIterator[Event], exchange: Exchange) -> AsyncIterator[Delta | End]:
    """The events that are written; what they say of the answer as a whole is noted in the exchange."""
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            if not isinstance(event, Delta):
                exchange.headers |= fact_headers(event.facts)
            if isinstance(event, End):
                exchange.tokens += event.tokens
                exchange.missing = list(event.facts.get("missing") or ())
            if not isinstance(event, Known):
                yield event


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

    def whole(self, events: Sequence[Delta | End], tokens: Tokens) -> dict[str, Any]:
        choices, deltas_of, ends = [], defaultdict[int, list[Delta]](list), list[End]()
        for event in events:
            if isinstance(event, Delta):
                deltas_of[event.index].append(event)
            else:
                ends.append(event)
        ends.sort(key=lambda end: end.index)
        for end in ends:
            deltas = deltas_of[end.index]
            text = "".join(delta.text for delta in deltas)
            reasoning = "".join(delta.reasoning for delta in deltas)
            message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, **_thought(reasoning)}
            if calls := [_whole(call) for delta in deltas for call in delta.calls]:
                message |= {"content": text or None, "tool_calls": calls}
            logprobs = _joined([delta.logprobs for delta in deltas if delta.logprobs is not None])
            written: dict[str, Any] = {"message": message} if self._chat else {"text": text}
            choices.append(_choice(end.index, written, logprobs, end.finish_reason))
        return self._put(self._kind, choices, usage=tokens.usage(), pluralism=ends[0].facts)

    def chunks(self, event: Delta | End) -> Iterator[dict[str, Any]]:
        if self._chat and event.index not in self._begun:
            self._begun.add(event.index)
            yield self._chunk(_choice(event.index, {"delta": {"role": "assistant", "content": ""}}))
        if isinstance(event, Delta):
            written: dict[str, Any] = {"delta": _delta(event)} if self._chat else {"text": event.text}
            yield self._chunk(_choice(event.index, written, event.logprobs))
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


def _whole(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call without its place, which only the parts of one need."""
    return {name: value for name, value in call.items() if name != "index"}


def _choice(
    index: int, text: dict[str, Any], logprobs: dict[str, Any] | None = None, finish_reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, **text, "logprobs": logprobs, "finish_reason": finish_reason}


def _delta(event: Delta) -> dict[str, Any]:
    """Reasoning and calls come in chunks of their own, which have no content."""
    beside = {**_thought(event.reasoning), **({"tool_calls": list(event.calls)} if event.calls else {})}
    return {**beside, "content": event.text} if event.text or not beside else beside


def _thought(reasoning: str) -> dict[str, Any]:
    """As llama-server and vLLM write it; OpenAI's API has no place for it."""
    return {"reasoning_content": reasoning} if reasoning else {}


def _joined(tables: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The log-probabilities of a choice's deltas, one below the other."""
    if len(tables) < 2:
        return tables[0] if tables else None
    return {name: [value for table in tables for value in table[name]] for name in tables[0]}
