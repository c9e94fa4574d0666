"""Modular Pluralism: answers that reflect more than one community's view (Feng et al., EMNLP 2024).

Everything that an application needs is importable from here; it is loaded when it is first used.

"""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8"))
_MODULE_OF = {
    name.name: str(node.module) for node in _STUB.body if isinstance(node, ast.ImportFrom) for name in node.names
}
"""What is public, by the module that has it, as the stub tells type checkers. LangGraph and llama.cpp take a second to
import, which `pluralism --help` should not cost."""

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
