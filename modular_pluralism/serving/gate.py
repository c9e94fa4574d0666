"""Who may come in: so many requests at once, so many that wait, so many of one key, and none once the server stops."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from modular_pluralism.serving.api_error import ApiError, stopping
from modular_pluralism.serving.limits import Limits

_LONGEST_WAIT = 60


class Gate:
    """Counts requests; to be used from one event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._places = asyncio.Semaphore(limits.running)
        self._of_key: Counter[int] = Counter()
        self._usual_seconds = 1.0
        self._grace = 0.0
        self._empty = asyncio.Event()
        self._empty.set()
        self._inside = 0
        self.running = 0
        self.waiting = 0
        self.closed = False
        self.over = asyncio.Event()
        """Set when requests that still run have to end."""

    @asynccontextmanager
    async def place(self, key: int | None) -> AsyncIterator[None]:
        """A place to work in, for which a request may have to wait.

        Raises:
            ApiError: 429, too many wait already or run under the same key; 503, the server stops.
        """
        self._check(key)
        self._enter(key)
        try:
            self.waiting += 1
            try:
                await self._places.acquire()
            finally:
                self.waiting -= 1
            self.running += 1
            started = time.monotonic()
            try:
                yield
            finally:
                self.running -= 1
                self._places.release()
                self._usual_seconds += 0.2 * (time.monotonic() - started - self._usual_seconds)
        finally:
            self._leave(key)

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
        if self._places.locked() and self.waiting >= self._limits.waiting:
            raise self._busy(f"{self.running} requests are running and {self.waiting} are waiting", "queue_full")

    def _busy(self, what: str, code: str) -> ApiError:
        seconds = self._usual_seconds * (self.waiting + 1) / self._limits.running
        wait = min(_LONGEST_WAIT, max(1, math.ceil(seconds)))
        return ApiError(
            429, f"{what}; ask again in {wait} seconds.", kind="rate_limit_error", code=code, retry_after=wait
        )

    def _enter(self, key: int | None) -> None:
        self._empty.clear()
        self._inside += 1
        if key is not None:
            self._of_key[key] += 1

    def _leave(self, key: int | None) -> None:
        self._inside -= 1
        if not self._inside:
            self._empty.set()
        if key is not None:
            self._of_key[key] -= 1
