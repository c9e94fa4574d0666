"""The model of a pool that judges or reflects: any by its name, or the base LLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from langchain_core.language_models.chat_models import BaseChatModel

from modular_pluralism.errors import InputError
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.pool import Pool

OpenModel = Callable[[], PoolModel]
"""Opens a model, or gives the open one: to be called within the event loop that uses it."""


def named_model(
    pool: Pool, name: str | None = None, models: Mapping[str, BaseChatModel] | None = None, *, purpose: str = "judge"
) -> OpenModel:
    """How to open [models.NAME] without an adapter, or the base LLM where `name` is None.

    It shares its engine with everything else in the process that runs on the same weights. `models` puts chat models
    in the place of tables, as in PoolModels; `purpose` says in a message what the model was wanted for.

    Raises:
        InputError: the pool has no such model.
        ModelLoadError: its file is missing, or the variable with its API key is not set.
    """
    name = pool.base if name is None else name
    if name not in pool.models:
        raise InputError(f"The pool has no model {name!r} to {purpose} with; use one of {', '.join(pool.models)}.")
    opened = PoolModels(pool.model_copy(update={"base": name}), models)
    opened.base()  # so that what is missing is told now, and not in the middle of an evaluation
    return opened.base
