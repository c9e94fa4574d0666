"""What comes out of a model or a mode, before it is written in OpenAI's form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from modular_pluralism.models.reply_parts import TokenCounts
from modular_pluralism.serving.schemas import ChatRequest

Facts = dict[str, Any]
"""What stands in a response's `pluralism` field."""


@dataclass(frozen=True)
class Tokens:
    """What an answer cost; `cached` tokens of the prompt were not read again, and `reasoning` of the completion's were
    written before the text."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0

    @classmethod
    def of(cls, told: TokenCounts) -> Tokens:
        """What is not told counts as none."""
        return cls(told.prompt or 0, told.cached or 0, told.completion or 0, told.reasoning or 0)

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.reasoning + other.reasoning,
        )

    def of_choice(self, index: int) -> Tokens:
        """As one of several answers to a prompt, which OpenAI counts once."""
        return self if index == 0 else Tokens(completion=self.completion, reasoning=self.reasoning)

    def usage(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        thought = {"completion_tokens_details": {"reasoning_tokens": self.reasoning}} if self.reasoning else {}
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            **thought,
        }


@dataclass(frozen=True)
class Delta:
    """Some more text of a choice; `logprobs` are in OpenAI's form, which is another for chats than for completions.
    `reasoning` is what a thinking model writes before its text. `calls` are calls of tools, or parts of them, in the
    form of OpenAI's chunks."""

    index: int
    text: str
    logprobs: dict[str, Any] | None = None
    reasoning: str = ""
    calls: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class End:
    """The end of a choice."""

    index: int
    finish_reason: str
    tokens: Tokens
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What is known of a run before its answer is written; comes first."""

    facts: Facts


Event = Known | Delta | End


def fact_headers(facts: Facts) -> dict[str, str]:
    """Headers that tell what a client may drop with the field `pluralism`: who is missing, the mode, and so on. Names
    are percent-encoded, and those of several joined by commas."""
    if "mode" not in facts:
        return {}
    told = {name: facts[name] for name in ("mode", "pool", "seed") if name in facts}
    headers: dict[str, str] = {name: quote(str(value), safe="") for name, value in told.items()}
    headers["missing"] = ",".join(quote(name, safe="") for name in facts.get("missing") or ())
    if selected := facts.get("selected"):
        headers["selected"] = quote(selected["community"], safe="")
    return {f"x-pluralism-{name}": value for name, value in headers.items()}


class Talker(Protocol):
    """Somebody who answers chats: a model, or a mode."""

    def events(self, request: ChatRequest) -> AsyncIterator[Event]:
        """The answer: every choice ends with its End. A choice's text comes as it is written where the request is for a
        stream; elsewhere it need not.

        Raises:
            ApiError, PluralismError: there is none; at any point.
        """
