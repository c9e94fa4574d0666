"""What one request, one key and the server as a whole may ask for, and the gate that sees to it."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from modular_pluralism.serving.api_error import ApiError, stopping
from modular_pluralism.serving.schemas import Body, EmbeddingsRequest

_LONGEST_WAIT = 60


@dataclass(frozen=True)
class Limits:
    """Each is an option of `pluralism serve`."""

    body: int = 1 << 20
    """Bytes of a request's body."""
    tokens: int = 4096
    """The most that max_tokens may ask for."""
    choices: int = 8
    """`n`: answers to one prompt."""
    stops: int = 16
    """Stop strings of a request."""
    stop_length: int = 256
    """Characters of a stop string."""
    top_logprobs: int = 20
    """Alternatives reported for each token."""
    prompts: int = 128
    """Prompts in one call of /v1/completions."""
    inputs: int = 2048
    """Inputs in one call of /v1/embeddings."""
    running: int = 64
    """Requests that are worked on at once."""
    waiting: int = 256
    """Requests that wait for their turn; more get status 429."""
    per_key: int = 64
    """Requests of one API key that run or wait at once; more get status 429."""

    def of_fields(self) -> dict[str, int]:
        """The most that fields of a request may be."""
        return {
            "max_tokens": self.tokens,
            "max_completion_tokens": self.tokens,
            "max_output_tokens": self.tokens,
            "n": self.choices,
            "logprobs": self.top_logprobs,
            "top_logprobs": self.top_logprobs,
        }

    def check(self, request: Body) -> None:
        """Raise ApiError, 400, where a request asks for more."""
        asked = [(name, name, getattr(request, name, None), most) for name, most in self.of_fields().items()]
        stops, prompts = getattr(request, "stop", None) or [], getattr(request, "prompt", None) or []
        inputs = request.input if isinstance(request, EmbeddingsRequest) else []
        asked += [
            ("stop", "the number of stop strings", len(stops), self.stops),
            ("stop", "the length of a stop string", max(map(len, stops), default=0), self.stop_length),
            ("prompt", "the number of prompts", len(prompts), self.prompts),
            ("input", "the number of inputs", len(inputs), self.inputs),
        ]
        for field, name, value, most in asked:
            if value is not None and value is not True and value > most:
                raise ApiError(
                    400, f"{name} is {value}, and this server allows at most {most}.", param=field, code="limit"
                )


class Gate:
    """Who may come in: so many requests at once, so many that wait, so many of one key, and none once the server stops.

    To be used from one event loop.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.running)
        self._of_key: Counter[int | None] = Counter()
        self._usual_seconds = 1.0
        self._grace = 0.0
        self._empty = asyncio.Event()
        self._empty.set()
        self.running = 0
        self.waiting = 0
        self.closed = False
        self.over = asyncio.Event()
        """Set when requests that still run have to end."""

    @asynccontextmanager
    async def turn(self, key: int | None) -> AsyncIterator[None]:
        """A request's turn, for which it may have to wait.

        Raises:
            ApiError: 429, too many wait already or run under the same key; 503, the server stops.
        """
        self._check(key)
        self._empty.clear()
        self._of_key[key] += 1
        self.waiting += 1
        try:
            try:
                await self._turns.acquire()
            finally:
                self.waiting -= 1
            self.running += 1
            started = time.monotonic()
            try:
                yield
            finally:
                self.running -= 1
                self._turns.release()
                self._usual_seconds += 0.2 * (time.monotonic() - started - self._usual_seconds)
        finally:
            self._of_key[key] -= 1
            if not self.running + self.waiting:
                self._empty.set()

    def close(self, grace: float) -> None:
        """Let nobody in any more; those inside have `grace` seconds."""
        self.closed, self._grace = True, grace

    async def wait_until_empty(self, seconds: float) -> bool:
        """Whether everybody has left in time."""
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _check(self, key: int | None) -> None:
        if self.closed:
            raise stopping(self._grace)
        if key is not None and self._of_key[key] >= self._limits.per_key:
            raise self._busy(f"{self._limits.per_key} requests of this API key are running or waiting", "key_limit")
        if self._turns.locked() and self.waiting >= self._limits.waiting:
            raise self._busy(f"{self.running} requests are running and {self.waiting} are waiting", "queue_full")

    def _busy(self, what: str, code: str) -> ApiError:
        seconds = self._usual_seconds * (self.waiting + 1) / self._limits.running
        wait = min(_LONGEST_WAIT, max(1, math.ceil(seconds)))
        return ApiError(
            429, f"{what}; ask again in {wait} seconds.", kind="rate_limit_error", code=code, retry_after=wait
        )
