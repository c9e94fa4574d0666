"""Answers in the form of OpenAI's API."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import modular_pluralism
from modular_pluralism.serving.answers import Answer, Delta, End, Facts, Tokens
from modular_pluralism.serving.embedded_completion import Completion, Part

FINGERPRINT = f"modular-pluralism-{modular_pluralism.__version__}"


class Frame:
    """What every part of one response has in common. `with_usage`: the client wants to be told what it cost, and every
    chunk before the last then says that it does not."""

    def __init__(self, model: str, kind: str, *, with_usage: bool = False) -> None:
        prefix = "chatcmpl" if kind.startswith("chat") else "cmpl"
        self._kind = kind
        self._same = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": FINGERPRINT,
            **({"usage": None} if with_usage else {}),
        }

    def put(self, choices: Sequence[dict[str, Any]], *, chunk: bool = False, **more: Any) -> dict[str, Any]:
        """The object of a whole response, or of a chunk."""
        is_chunk = chunk and self._kind.startswith("chat")  # chunks of raw completions are called as the whole is
        return {
            "object": f"{self._kind}.chunk" if is_chunk else self._kind,
            **self._same,
            "choices": list(choices),
            **more,
        }


def chat_response(frame: Frame, answer: Answer) -> dict[str, Any]:
    """A whole chat completion."""
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": choice.text, "refusal": None},
            "logprobs": _chat_logprobs(choice.logprobs),
            "finish_reason": choice.finish_reason,
        }
        for index, choice in enumerate(answer.choices)
    ]
    return frame.put(choices, usage=answer.tokens.usage(), pluralism=answer.facts)


def chat_begin(frame: Frame, index: int) -> dict[str, Any]:
    """The first chunk of a choice."""
    return frame.put([_chat_choice(index, {"role": "assistant", "content": ""})], chunk=True)


def chat_delta(frame: Frame, delta: Delta) -> dict[str, Any]:
    """A chunk with some more text."""
    return frame.put([_chat_choice(delta.index, {"content": delta.text}, delta.logprobs)], chunk=True)


def chat_end(frame: Frame, end: End) -> dict[str, Any]:
    """The last chunk of a choice."""
    choice = {**_chat_choice(end.index, {}), "finish_reason": end.finish_reason}
    return frame.put([choice], chunk=True, pluralism=end.facts)


def usage_chunk(frame: Frame, tokens: Tokens) -> dict[str, Any]:
    """The chunk that only tells what the answer cost."""
    return frame.put([], chunk=True, usage=tokens.usage())


def completion_response(frame: Frame, texts: Sequence[Completion], tokens: Tokens, facts: Facts) -> dict[str, Any]:
    """A whole raw completion."""
    choices = [
        {"index": index, "text": text.text, "logprobs": text.logprobs, "finish_reason": text.finish_reason}
        for index, text in enumerate(texts)
    ]
    return frame.put(choices, usage=tokens.usage(), pluralism=facts)


def completion_part(frame: Frame, part: Part) -> dict[str, Any]:
    """A chunk with some more text."""
    choice = {"index": part.index, "text": part.text, "logprobs": part.logprobs, "finish_reason": None}
    return frame.put([choice], chunk=True)


def completion_end(frame: Frame, end: End, facts: Facts) -> dict[str, Any]:
    """The last chunk of a text."""
    choice = {"index": end.index, "text": "", "logprobs": None, "finish_reason": end.finish_reason}
    return frame.put([choice], chunk=True, pluralism=facts)


def _chat_choice(index: int, delta: dict[str, Any], logprobs: list[Any] | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": _chat_logprobs(logprobs), "finish_reason": None}


def _chat_logprobs(entries: list[Any] | None) -> dict[str, Any] | None:
    return None if entries is None else {"content": entries, "refusal": None}
