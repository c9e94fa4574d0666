"""What comes out of a model or a mode, before it is written in OpenAI's form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from modular_pluralism.serving.schemas import ChatRequest

Facts = dict[str, Any]
"""What stands in a response's `pluralism` field."""


@dataclass(frozen=True)
class Tokens:
    """What an answer cost; `cached` tokens of the prompt were not read again."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.cached + other.cached, self.completion + other.completion)

    def usage(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


@dataclass(frozen=True)
class Choice:
    """One whole answer; `logprobs` are entries in OpenAI's form."""

    text: str
    finish_reason: str
    logprobs: list[Any] | None = None


@dataclass(frozen=True)
class Answer:
    """All choices, what they cost together, and the facts of the run."""

    choices: list[Choice]
    tokens: Tokens
    facts: Facts


@dataclass(frozen=True)
class Delta:
    """Some more text of a choice."""

    index: int
    text: str
    logprobs: list[Any] | None = None


@dataclass(frozen=True)
class End:
    """The end of a choice."""

    index: int
    finish_reason: str
    tokens: Tokens
    facts: Facts = field(default_factory=dict)


Event = Delta | End


class Talker(Protocol):
    """Somebody who answers chats: a model, or a mode."""

    async def answer(self, request: ChatRequest) -> Answer:
        """The whole answer.

        Raises:
            ApiError, PluralismError: there is none.
        """

    def stream(self, request: ChatRequest) -> AsyncIterator[Event]:
        """The same in parts: every choice ends with its End. Raises as `answer` does, at any point."""
