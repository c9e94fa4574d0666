"""One request and what became of it: what the log and the metrics are told."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


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


@dataclass(eq=False)
class Exchange:
    """Filled in while a request is worked on. `key` is the number of its API key, never the key."""

    id: str
    method: str
    path: str
    started: float = field(default_factory=time.monotonic)
    key: int | None = None
    model: str | None = None
    status: int = 0
    streamed: bool = False
    first_seconds: float | None = None
    tokens: Tokens = Tokens()
    missing: list[str] = field(default_factory=list)
    error: str | None = None
    """The code of an error, or its class; also where the status had been sent before it."""
    prompt: Any = None
    """Kept only where the log is to hold prompts."""

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started

    def first_byte(self) -> None:
        """The first part of the answer is there."""
        if self.first_seconds is None:
            self.first_seconds = self.seconds
