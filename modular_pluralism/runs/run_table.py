"""The table of kept runs: what can be listed at once, without reading a checkpoint."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from modular_pluralism.checked import hint
from modular_pluralism.errors import InputError, PluralismError, StoreError, UnkeptError
from modular_pluralism.file_names import check_is_utf8
from modular_pluralism.models.redaction import redact
from modular_pluralism.runs.run_store import Row, RunStore
from modular_pluralism.runs.setup import Setup

State = Literal["running", "stopped", "failed", "finished"]
"""`stopped`: its process has ended before the run did. `failed`: it ended with an error, and can be resumed, too."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_COLUMNS = "id, created, mode, question, communities, state, error"


@dataclass(frozen=True)
class ListedRun:
    """One row. `created` is in seconds since 1970; `answered` communities of `communities` are done, well or not."""

    id: str
    created: float
    mode: str
    question: str
    communities: int
    state: State
    answered: int
    error: str | None


def check_id(run: str) -> None:
    """Raise InputError unless this can be a run's name."""
    if not _ID.fullmatch(run):
        raise InputError(
            f"{run!r} cannot be a run's name; use up to 128 letters, digits, '.', '_' and '-', a letter or digit first."
        )


class RunTable:
    """The rows of a store. Every method raises StoreError where the database fails."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    async def add(self, run: str, setup: Setup) -> None:
        """A new run; for the one who has claimed it.

        Raises:
            InputError: there is one of that name, or its pool or prompts lie where no text can name them.
        """
        if await self._store.fetch("SELECT id FROM pluralism_runs WHERE id = ?", run):
            raise InputError(
                f"There is a run {run} already; `pluralism resume {run}` goes on with it or prints it, `pluralism runs "
                f"remove {run}` removes it, and another --thread begins a new one."
            )
        if await self._store.fetch("SELECT thread_id FROM checkpoints WHERE thread_id = ? LIMIT 1", run):
            raise InputError(f"The store holds another application's thread {run}; give another --thread.")
        for path in filter(None, (setup.pool, setup.prompts)):
            check_is_utf8(Path(path), InputError)
        values = (run, time.time(), setup.mode, _text(setup.asked["question"]), len(setup.communities))
        await self._store.change(
            (
                f"INSERT INTO pluralism_runs ({_COLUMNS}, setup) VALUES (?, ?, ?, ?, ?, 'stopped', NULL, ?)",
                [*values, setup.model_dump_json()],
            )
        )

    async def finish(self, run: str) -> None:
        """Note that its answer is there."""
        await self._set(run, "finished", None)

    async def fail(self, run: str, error: str) -> None:
        """Note why it ended."""
        await self._set(run, "failed", redact(_text(error)))

    async def reopen(self, run: str) -> None:
        """Note that it goes on: it is stopped as soon as its process has ended."""
        await self._set(run, "stopped", None)

    async def remove(self, run: str) -> None:
        """Remove it with all its checkpoints; for the one who has claimed it."""
        await self.get(run)
        await self._store.saver.adelete_thread(run)
        await self._store.change(
            ("DELETE FROM pluralism_records WHERE run = ?", [run]),
            ("DELETE FROM pluralism_runs WHERE id = ?", [run]),
        )
        self._store.forget_claim(run)

    async def all(self) -> list[ListedRun]:
        """Every run, the newest first."""
        return await self._listed(
            await self._store.fetch(f"SELECT {_COLUMNS} FROM pluralism_runs ORDER BY created DESC")
        )

    async def get(self, run: str) -> ListedRun:
        """One run.

        Raises:
            InputError: there is none of that name.
        """
        check_id(run)
        rows = await self._store.fetch(f"SELECT {_COLUMNS} FROM pluralism_runs WHERE id = ?", run)
        if not rows:
            known = [row["id"] for row in await self._store.fetch("SELECT id FROM pluralism_runs")]
            raise InputError(
                f"There is no run {run} in {self._store.shown}{hint(run, known)}; `pluralism runs` lists those there "
                "are."
            )
        return (await self._listed(rows))[0]

    async def setup(self, run: str) -> Setup:
        """What a run was asked and of whom.

        Raises:
            StoreError: the row does not say.
        """
        rows = await self._store.fetch("SELECT setup FROM pluralism_runs WHERE id = ?", run)
        try:
            return Setup.model_validate_json(rows[0]["setup"])
        except (ValidationError, IndexError):
            raise StoreError(
                f"What the run {run} needs cannot be read from {self._store.shown}; remove it, and ask anew."
            ) from None

    async def _set(self, run: str, state: State, error: str | None) -> None:
        await self._store.change(("UPDATE pluralism_runs SET state = ?, error = ? WHERE id = ?", [state, error, run]))

    async def _listed(self, rows: list[Row]) -> list[ListedRun]:
        unfinished = [row["id"] for row in rows if row["state"] != "finished"]
        running = await self._store.claimed(unfinished)
        answered = await self._answered()
        return [
            ListedRun(
                **{**row, "state": "running" if row["id"] in running else row["state"]},
                answered=answered.get(row["id"], 0) if row["state"] != "finished" else row["communities"],
            )
            for row in rows
        ]

    async def _answered(self) -> dict[str, int]:
        """How many communities have left a comment, of each run that has no answer. The writes of each node have rows
        of their own, so that they can be counted without being read; a branch's namespace ends with its node's task.
        (The first node empties the comments: it writes null.)"""
        rows = await self._store.fetch(
            f"SELECT DISTINCT thread_id, checkpoint_ns, task_id FROM {self._store.writes} WHERE thread_id IN "
            "(SELECT id FROM pluralism_runs WHERE state <> 'finished') "
            f"AND channel = 'comments' AND length({self._store.written}) > {len('null')}"
        )
        nodes = {(row["thread_id"], row["checkpoint_ns"].partition("|")[0] or row["task_id"]) for row in rows}
        return Counter(run for run, _ in {(run, node.rpartition(":")[2]) for run, node in nodes})


async def keep(store: RunStore, run: str, running: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Wait for a run's final state and note that it has finished, or why it has failed. A run that is cancelled or
    killed stays noted as stopped.

    Raises:
        UnkeptError: the run has not failed, but the store.
        PluralismError: the run failed.
    """
    table = RunTable(store)
    try:
        state = await running
    except PluralismError as error:
        with suppress(StoreError):  # what ended the run says more
            await table.fail(run, str(error))
        raise
    try:
        await table.finish(run)
    except StoreError as error:
        raise UnkeptError(str(error), state) from error
    store.forget_claim(run)
    return state


def _text(text: str) -> str:
    """The text without the one character that Postgres cannot hold."""
    return text.replace("\x00", "")
