"""An open store: LangGraph's checkpoints, and beside them a table of the runs that the command line keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

Row = dict[str, Any]


class RunStore(ABC):
    """What SQLite and Postgres have in common. `shown` is what messages call the store, `saver` holds the checkpoints,
    and `writes` is the name of LangGraph's table of what single nodes have written.

    Every method raises StoreError where the database fails.
    """

    shown: str
    saver: BaseCheckpointSaver[Any]
    writes: str
    written: str
    """The column of `writes` with the value, serialised."""
    checkpoint_tables: tuple[str, ...]
    """Tables in which rows belong to a run by `thread_id`."""

    @abstractmethod
    async def fetch(self, sql: str, *values: object) -> list[Row]:
        """The rows of a query. `?` stands for a value, in both kinds of database."""

    @abstractmethod
    async def change(self, *statements: tuple[str, Sequence[object]]) -> int:
        """Do all of the statements or none; returns how many rows the last one has changed."""

    @abstractmethod
    def claim(self, run: str) -> AbstractAsyncContextManager[None]:
        """Keep other processes from working on a run. When this process ends, in whatever way, the claim ends.

        Raises:
            RunInUseError: somebody else has claimed it.
        """

    @abstractmethod
    async def claimed(self, runs: Sequence[str]) -> set[str]:
        """Those of the runs that somebody is working on."""

    @abstractmethod
    def forget_claim(self, run: str) -> None:
        """Clean up after a run that nobody will work on again; only for the one who has claimed it."""
