"""Noting in a store how a run ended."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

from modular_pluralism.errors import PluralismError, StoreError
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import RunTable


async def keep(store: RunStore, run: str, running: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Wait for a run's final state and note that it has finished, or why it has failed. A run that is cancelled or
    killed stays noted as stopped.

    Raises:
        PluralismError: the run failed.
    """
    table = RunTable(store)
    try:
        state = await running
    except PluralismError as error:
        with suppress(StoreError):  # what ended the run says more
            await table.fail(run, str(error))
        raise
    await table.finish(run)
    store.forget_claim(run)
    return state
