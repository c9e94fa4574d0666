"""What became of a request, and the server's log: one JSON object a line. It holds no key, and no prompt unless that is
wanted."""

from __future__ import annotations

import json
import sys
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

from modular_pluralism.models.redaction import redact
from modular_pluralism.serving.answers import Tokens


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
    tokens: Tokens = field(default_factory=Tokens)
    missing: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    """What the answer's own headers tell of it."""
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


class RequestLog:
    """Writes to `out`. `prompts` adds what was asked."""

    def __init__(self, *, prompts: bool = False, out: TextIO | None = None) -> None:
        self.prompts = prompts
        self._out = out or sys.stderr

    def event(self, event: str, **facts: Any) -> None:
        """Something about the server itself."""
        self._write({"event": event, **facts})

    def done(self, exchange: Exchange) -> None:
        """A request that has ended."""
        tokens = exchange.tokens
        line: dict[str, Any] = {
            "event": "request",
            "request_id": exchange.id,
            "method": exchange.method,
            "path": exchange.path,
            "model": exchange.model,
            "status": exchange.status,
            "seconds": round(exchange.seconds, 4),
            "first_seconds": None if exchange.first_seconds is None else round(exchange.first_seconds, 4),
            "stream": exchange.streamed,
            "prompt_tokens": tokens.prompt,
            "cached_tokens": tokens.cached,
            "completion_tokens": tokens.completion,
            "key": exchange.key,
        }
        if exchange.missing:
            line["missing"] = exchange.missing
        if exchange.error:
            line["error"] = exchange.error
        if self.prompts and exchange.prompt is not None:
            line["prompt"] = exchange.prompt
        self._write(line)

    def mistake(self, exchange: Exchange, error: BaseException) -> None:
        """An error that nobody raised on purpose: where it came from, without what it says, which may be a prompt."""
        frames = traceback.extract_tb(error.__traceback__)
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        self._write({"event": "mistake", "request_id": exchange.id, "error": type(error).__name__, "where": where})

    def _write(self, facts: dict[str, Any]) -> None:
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}, ensure_ascii=True)
        self._out.write(redact(line) + "\n")
        self._out.flush()
