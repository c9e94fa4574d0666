"""What goes wrong with a store of runs."""

from __future__ import annotations

from modular_pluralism.errors import PluralismError


class StoreError(PluralismError):
    """A store of runs cannot be opened, read or written, or holds something that must not be read."""


class RunInUseError(StoreError):
    """Another process is at work on this run."""
