"""Two runs side by side, with what differs marked."""

from __future__ import annotations

from modular_pluralism.runs.run_store import RunStore


async def show_comparison(store: RunStore, one: str, other: str) -> None:
    """to come"""
