"""Runs that are kept: their checkpoints are in a file or in Postgres, so that nothing that was said is lost."""

from __future__ import annotations

from modular_pluralism.errors import StoreError
from modular_pluralism.runs.opening import open_store

__all__ = ["StoreError", "open_store"]
