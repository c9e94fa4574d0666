"""What Inspect finds through the package's entry point."""

from __future__ import annotations

from inspect_ai.model import ModelAPI, modelapi

from modular_pluralism.evaluation.inspect import js_distance, value_coverage

__all__ = ["js_distance", "pluralism", "value_coverage"]


@modelapi(name="pluralism")
def pluralism() -> type[ModelAPI]:
    """The provider of pluralism/overton and the like; loaded when such a model is asked for."""
    from modular_pluralism.evaluation.inspect.model import PluralismModel

    return PluralismModel
