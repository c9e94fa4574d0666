"""Answers in the form of /v1/responses: one object, or a stream of named events."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

from modular_pluralism.serving.answers import Delta, End, Event, Tokens
from modular_pluralism.serving.request_log import Exchange
from modular_pluralism.serving.responses import noted
from modular_pluralism.serving.responses_request import ResponsesRequest, TextFormat


async def response_events(
    events: AsyncIterator[Event], request: ResponsesRequest, exchange: Exchange
) -> AsyncIterator[dict[str, Any]]:
    """The response, or the events of a stream where that is asked for."""
    form, text, number = _Form(request), "", 0
    async for event in noted(events, exchange):
        if isinstance(event, Delta) and not event.text:
            continue
        told: list[dict[str, Any]] = []
        if number == 0:
            told += form.begun()
        if isinstance(event, Delta):
            text += event.text
            told.append(form.of_text("response.output_text.delta", delta=event.text, logprobs=[]))
        else:
            told += form.ended(text, event, exchange.tokens)
        for part in told if request.stream else ():
            yield {**part, "sequence_number": number}
            number += 1
        if isinstance(event, End) and not request.stream:
            yield form.whole(text, event, exchange.tokens)


class _Form:
    """What the parts of one response have in common."""

    def __init__(self, request: ResponsesRequest) -> None:
        self._item = f"msg_{secrets.token_hex(12)}"
        effort = None if request.reasoning is None else request.reasoning.effort
        wanted = (None if request.text is None else request.text.format) or TextFormat(type="text")
        self._same: dict[str, Any] = {
            "id": f"resp_{secrets.token_hex(12)}",
            "object": "response",
            "created_at": int(time.time()),
            "model": request.model,
            "background": False,
            "error": None,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata or {},
            "parallel_tool_calls": False,
            "previous_response_id": None,
            "reasoning": {"effort": effort, "summary": None},
            "store": False,
            "temperature": request.temperature,
            "text": {"format": wanted.model_dump(by_alias=True, exclude_none=True)},
            "tool_choice": "none",
            "tools": [],
            "top_p": request.top_p,
            "truncation": "disabled",
        }

    def begun(self) -> list[dict[str, Any]]:
        """What comes before the text."""
        nothing = {**self._same, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        return [
            {"type": "response.created", "response": nothing},
            {"type": "response.in_progress", "response": nothing},
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**self._message("in_progress"), "content": []},
            },
            self.of_text("response.content_part.added", part=_part("")),
        ]

    def ended(self, text: str, end: End, tokens: Tokens) -> list[dict[str, Any]]:
        """What comes after it."""
        response = self.whole(text, end, tokens)
        return [
            self.of_text("response.output_text.done", text=text, logprobs=[]),
            self.of_text("response.content_part.done", part=_part(text)),
            {"type": "response.output_item.done", "output_index": 0, "item": response["output"][0]},
            {"type": f"response.{response['status']}", "response": response},
        ]

    def of_text(self, kind: str, **more: Any) -> dict[str, Any]:
        """An event about the one text that there is."""
        return {"type": kind, "item_id": self._item, "output_index": 0, "content_index": 0, **more}

    def whole(self, text: str, end: End, tokens: Tokens) -> dict[str, Any]:
        """The response."""
        cut = end.finish_reason == "length"
        status = "incomplete" if cut else "completed"
        return {
            **self._same,
            "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": [{**self._message(status), "content": [_part(text)]}],
            "usage": {
                "input_tokens": tokens.prompt,
                "input_tokens_details": {"cached_tokens": tokens.cached},
                "output_tokens": tokens.completion,
                "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
                "total_tokens": tokens.prompt + tokens.completion,
            },
            "pluralism": end.facts,
        }

    def _message(self, status: str) -> dict[str, Any]:
        return {"type": "message", "id": self._item, "status": status, "role": "assistant"}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
