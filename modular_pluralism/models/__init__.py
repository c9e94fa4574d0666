"""Model access: opening what a pool names, calling it with retries and a deadline, reading option probabilities."""

from modular_pluralism.models.pool_models import PoolModel, PoolModels

__all__ = ["PoolModel", "PoolModels"]
