"""Seeds of a request: its own or a new one, and one for each of its answers."""

from __future__ import annotations

import secrets

_MASK = 2**31 - 1
"""Remote endpoints take signed 32-bit seeds."""


def seed_of(given: int | None) -> int:
    """The request's seed; a new one where it has none, so that every answer can be repeated."""
    return secrets.randbits(31) if given is None else given


def seed_of_choice(seed: int, index: int) -> int:
    """The seed of one of several answers; the first one's is the request's own."""
    return seed if index == 0 else (seed + index) & _MASK
