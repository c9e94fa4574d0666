"""A pool's models with the sampling settings of one request."""

from __future__ import annotations

from collections.abc import Mapping

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Pool


class SampledModels(PoolModels):
    """The models of `pool` opened once more, to draw otherwise; they share `models`' files, and so its engines."""

    def __init__(self, pool: Pool, models: PoolModels, sampling: Mapping[str, float]) -> None:
        drawing = {name: config.model_copy(update=dict(sampling)) for name, config in pool.models.items()}
        super().__init__(pool.model_copy(update={"models": drawing}))
        self._files = models._files
