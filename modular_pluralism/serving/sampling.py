"""How a request's answers are drawn: its seed, one for each of its answers, top_p, and models that draw otherwise."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Pool

_MASK = 2**31 - 1
"""Remote endpoints take signed 32-bit seeds."""


def seed_of(given: int | None) -> int:
    """The request's seed; a new one where it has none, so that every answer can be repeated."""
    return secrets.randbits(31) if given is None else given


def seed_of_choice(seed: int, index: int) -> int:
    """The seed of one of several answers; the first one's is the request's own."""
    return seed if index == 0 else (seed + index) & _MASK


def top_p_of(top_p: float) -> float:
    """OpenAI allows 0, where only the likeliest token is left; the engine wants a little more than that."""
    return max(top_p, 1e-9)


class SampledModels(PoolModels):
    """The models of `pool` opened once more, to draw otherwise; they share `models`' files, and so its engines."""

    def __init__(self, pool: Pool, models: PoolModels, sampling: Mapping[str, float]) -> None:
        drawing = {name: config.model_copy(update=dict(sampling)) for name, config in pool.models.items()}
        super().__init__(pool.model_copy(update={"models": drawing}))
        self._files = models._files
