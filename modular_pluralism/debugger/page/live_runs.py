"""The runs of this process: each goes on whether or not a browser looks, until it ends or somebody stops it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from modular_pluralism.debugger.calls import read_calls
from modular_pluralism.debugger.fork import ForkRequest, start_fork
from modular_pluralism.debugger.history import read_run
from modular_pluralism.debugger.live import LiveRun, RunRequest, start_run
from modular_pluralism.debugger.page.progress import RunProgress
from modular_pluralism.runs.location import StoreLocation
from modular_pluralism.runs.opening import open_run_store
from modular_pluralism.runs.run_store import RunStore

_SHUTDOWN_SECONDS = 10.0
"""For the runs that are stopped to say so."""


class LiveRuns:
    """What all browser tabs share: the store, and the runs that are on. `pool` and `prompts` are what the page offers
    first."""

    def __init__(self, pool: str, prompts: Path | None, place: StoreLocation, timeout: float) -> None:
        self.pool = pool
        self.prompts = prompts
        self.place = place
        self._timeout = timeout
        self._store: RunStore | None = None
        self._live: dict[str, tuple[LiveRun, RunProgress, asyncio.Task[None]]] = {}

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have the store open in this block; runs that are still on at its end are stopped, and stay in the store.

        Raises:
            StoreError: the store cannot be opened.
        """
        async with AsyncExitStack() as stack:
            self._store = await stack.enter_async_context(open_run_store(self.place, self._timeout))
            try:
                yield
            finally:
                await self._stop_all()

    @property
    def store(self) -> RunStore:
        """The open store."""
        assert self._store is not None, "the runs are not open"
        return self._store

    async def start(self, request: RunRequest) -> str:
        """Start a run; returns its name in the store. Raises PluralismError where it cannot begin."""
        return self._follow(await start_run(self.store, request))

    async def fork(self, request: ForkRequest) -> str:
        """Start a fork; returns its name in the store. Raises PluralismError where it cannot begin."""
        return self._follow(await start_fork(self.store, request))

    async def stop(self, run: str) -> None:
        """Stop a run that is on here."""
        if run in self._live:
            await self._live[run][0].stop()

    def is_live(self, run: str) -> bool:
        """Whether the run is on in this process."""
        return run in self._live

    async def progress(self, run: str) -> RunProgress:
        """How far a run is: as it changes where it is on, else what the store knows.

        Raises:
            InputError: there is no such run.
        """
        if run in self._live:
            return self._live[run][1]
        kept = await read_run(self.store, run)
        progress = RunProgress(run, kept.setup.edits.comments)
        progress.fill(kept, await read_calls(self.store, run))
        return progress

    def _follow(self, live: LiveRun) -> str:
        progress = RunProgress(live.run, live.setup.edits.comments)

        async def follow() -> None:
            async for event in live.events():
                progress.take(event)
            self._live.pop(live.run)  # from now on the store knows all

        self._live[live.run] = (live, progress, asyncio.create_task(follow(), name=f"run {live.run}"))
        return live.run

    async def _stop_all(self) -> None:
        told = [task for _, _, task in self._live.values()]
        stopping = [asyncio.create_task(live.stop()) for live, _, _ in self._live.values()]
        if stopping:
            await asyncio.wait([*stopping, *told], timeout=_SHUTDOWN_SECONDS)
