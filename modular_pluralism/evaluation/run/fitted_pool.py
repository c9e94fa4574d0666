"""A pool with the settings of an evaluation in it."""

from __future__ import annotations

from typing import Any

from modular_pluralism.errors import InputError
from modular_pluralism.llama.host import usable_memory
from modular_pluralism.pool import EmbeddedModel, Pool
from modular_pluralism.prompts import Style

_MUCH_MEMORY = 8 * 2**30
_CACHE_GIB = 2.0
"""Cache of an embedded model where the host has much memory and the pool says nothing: room for some forty sequences of
2,048 tokens of the demo model, against eleven with the default."""


def fitted_pool(
    pool: Pool, *, style: Style, comment_tokens: int | None, answer_tokens: int | None, repeatable: bool
) -> Pool:
    """The pool for an evaluation: None leaves its own length of comments or answers, `repeatable` gives the same texts
    whatever runs beside them, and style "completion" sends plain text.

    Raises:
        InputError: plain text is wanted, and a model is remote.
    """
    lengths = {"comment_tokens": comment_tokens, "answer_tokens": answer_tokens}
    changes = {name: value for name, value in lengths.items() if value is not None}
    models: dict[str, Any] = {}
    for name, model in pool.models.items():
        if not isinstance(model, EmbeddedModel):
            if style == "completion":
                raise InputError(
                    f"[models.{name}] is remote, and plain text can only be sent to embedded models; use --style chat."
                )
            models[name] = model
            continue
        own: dict[str, Any] = {}
        if style == "completion":
            own["template"] = False
        if repeatable:
            own["repeatable"] = True
        if model.memory is None and model.slots is None and (usable_memory() or 0) >= _MUCH_MEMORY:
            own["memory"] = _CACHE_GIB
        models[name] = model.model_copy(update=own)
    return pool.model_copy(update={"models": models, "run": pool.run.model_copy(update=changes)})
