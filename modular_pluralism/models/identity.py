"""What tells a model of ours from others."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class HasIdentity(Protocol):
    """A chat model that says so itself."""

    def pluralism_identity(self) -> list[Any]:
        """Its file or address, adapter and sampling, as plain values; no key. Equal for models that reply alike."""
