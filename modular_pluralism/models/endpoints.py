"""Which of several endpoints a request goes to: the one with the least to do among those that seem to be alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["alive", "shaky", "dead", "unknown"]
"""What a request says of its endpoint: it answered, it failed in a way that may pass (repeated, it is dead), it could
not be reached or kept silent (it is dead), or nothing, since the request was given up."""

PATIENCE = 3
"""So many shaky replies in a row count as dead."""
FIRST_COOL_DOWN = 1.0
LONGEST_COOL_DOWN = 60.0
"""Seconds for which a dead endpoint is left out; they double with each failed trial."""
_MOST_REQUESTS = 4096
"""So many failing requests are remembered; older ones are forgotten."""


@dataclass
class _Endpoint:
    in_flight: int = 0
    last_taken: int = 0
    shaky: int = 0
    deaths: int = 0
    dead_until: float | None = None
    on_trial: bool = False
    resting_until: float = 0.0
    changes: int = 0

    def back_at(self, now: float) -> float:
        """When it takes requests again: now or earlier if it does already."""
        if self.dead_until is None:
            return self.resting_until
        waits = now + LONGEST_COOL_DOWN if self.on_trial else self.dead_until  # one trial at a time
        return max(waits, self.resting_until)


@dataclass(frozen=True)
class Taken:
    """A request's stay at an endpoint."""

    address: str
    request: Hashable
    changes: int = field(repr=False)
    on_trial: bool = False


class Endpoints:
    """What is known of every endpoint of a pool, by its address. Thread-safe, and shared by all event loops.

    `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, _Endpoint] = {}
        self._failed_at: dict[Hashable, list[str]] = {}
        self._turns = 0

    def take(self, addresses: Sequence[str], request: Hashable) -> Taken:
        """Choose one of `addresses`; every call wants a `give_back`.

        A `request` that failed before goes to another endpoint where one is alive. Then the one with the fewest
        requests in flight is taken, and in turns where several have as few. A dead one gets a single request as a trial
        when its cool-down is over; if all are dead, the one whose cool-down ends first is tried at once.
        """
        with self._lock:
            now = self._clock()
            failed_at = self._failed_at.get(request, [])

            def order(address: str) -> tuple[float, int, int, int]:
                known = self._of(address)
                failed = failed_at.index(address) + 1 if address in failed_at else 0
                return (max(known.back_at(now), now), failed, known.in_flight, known.last_taken)

            address = min(addresses, key=order)
            chosen = self._of(address)
            self._turns += 1
            chosen.last_taken = self._turns
            chosen.in_flight += 1
            on_trial = chosen.dead_until is not None and not chosen.on_trial
            chosen.on_trial = chosen.on_trial or on_trial
            return Taken(address, request, chosen.changes, on_trial)

    def give_back(self, taken: Taken, verdict: Verdict, *, failed: bool, rest: float = 0.0) -> None:
        """Say how a request went: what it tells of its endpoint, whether it `failed`, and for how many seconds the
        endpoint asked to be left alone."""
        with self._lock:
            known = self._of(taken.address)
            known.in_flight -= 1
            if taken.on_trial:
                known.on_trial = False
            if rest > 0:
                known.resting_until = max(known.resting_until, self._clock() + rest)
            self._remember(taken, failed)
            if verdict == "alive":
                known.shaky = known.deaths = 0
                known.changes += known.dead_until is not None
                known.dead_until = None
            # Of many requests that die with their endpoint, one is enough to tell.
            elif verdict != "unknown" and taken.changes == known.changes:
                known.shaky += 1
                if verdict == "dead" or known.shaky >= PATIENCE or known.dead_until is not None:
                    self._bury(known)

    def wait(self, addresses: Sequence[str]) -> float:
        """Seconds until one of `addresses` takes requests: 0 if one does."""
        with self._lock:
            now = self._clock()
            return max(0.0, min(self._of(address).back_at(now) for address in addresses) - now)

    def _bury(self, known: _Endpoint) -> None:
        cool_down = min(FIRST_COOL_DOWN * 2.0 ** min(known.deaths, 30), LONGEST_COOL_DOWN)
        known.dead_until = self._clock() + cool_down
        known.deaths += 1
        known.changes += 1
        known.shaky = 0

    def _remember(self, taken: Taken, failed: bool) -> None:
        """Keep the endpoints at which a request failed, the latest last."""
        earlier = [each for each in self._failed_at.pop(taken.request, []) if each != taken.address]
        if failed:
            self._failed_at[taken.request] = [*earlier, taken.address]
            if len(self._failed_at) > _MOST_REQUESTS:
                del self._failed_at[next(iter(self._failed_at))]

    def _of(self, address: str) -> _Endpoint:
        return self._known.setdefault(address, _Endpoint())
