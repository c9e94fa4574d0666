"""Modular Pluralism: answers that reflect more than one community's view (Feng et al., EMNLP 2024).

Everything an application needs is importable from here; it is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modular_pluralism.errors import PluralismError
    from modular_pluralism.graphs import (
        build_distributional,
        build_moe,
        build_overton,
        build_pluralism,
        build_prompting,
        build_steerable,
        build_vanilla,
    )
    from modular_pluralism.llama import ChatLlama, close_engines
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet
    from modular_pluralism.runs import StoreError, open_store
    from modular_pluralism.tool import pluralism_tool

__version__ = "0.1.0"
__all__ = [
    "ChatLlama",
    "PluralismError",
    "Pool",
    "PromptSet",
    "StoreError",
    "__version__",
    "build_distributional",
    "build_moe",
    "build_overton",
    "build_pluralism",
    "build_prompting",
    "build_steerable",
    "build_vanilla",
    "close_engines",
    "open_store",
    "pluralism_tool",
]

_MODULES = {
    "ChatLlama": "llama",
    "PluralismError": "errors",
    "Pool": "pool",
    "PromptSet": "prompts",
    "StoreError": "runs",
    "build_distributional": "graphs",
    "build_moe": "graphs",
    "build_overton": "graphs",
    "build_pluralism": "graphs",
    "build_prompting": "graphs",
    "build_steerable": "graphs",
    "build_vanilla": "graphs",
    "close_engines": "llama",
    "open_store": "runs",
    "pluralism_tool": "tool",
}


def __getattr__(name: str) -> Any:
    # LangGraph and llama.cpp take a second to import, which `pluralism --help` should not cost.
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
