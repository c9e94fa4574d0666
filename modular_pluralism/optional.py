"""Libraries that only a part of the package needs, and that an extra installs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from modular_pluralism.errors import ModelLoadError


def optional(module: str, extra: str, purpose: str) -> Any:
    """The imported module; `purpose` says in the message what wants it.

    Raises:
        ModelLoadError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ModelLoadError(
            f"{purpose} needs the Python package {module.replace('_', '-')}, which cannot be imported ({error}); run "
            f"`pip install 'modular-pluralism[{extra}]'`."
        ) from error
