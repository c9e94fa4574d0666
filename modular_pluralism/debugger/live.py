"""A run that is on: it is kept in the store as it goes, tells what happens, and can be stopped."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph

from modular_pluralism.debugger.build import OwnModels, build_graph, node_id, picture
from modular_pluralism.debugger.events import (
    CallMade,
    Event,
    NodeFailed,
    NodeFinished,
    NodeReused,
    NodeStarted,
    NodeToken,
    NodeWaiting,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
)
from modular_pluralism.debugger.records import add_record
from modular_pluralism.debugger.request import RunRequest
from modular_pluralism.debugger.watch import CallWatcher
from modular_pluralism.errors import PluralismError
from modular_pluralism.graphs import NodeCache
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.models.redaction import redact
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.edits import Edited
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import RunTable, check_id, keep
from modular_pluralism.runs.setup import Setup

_END = (RunFinished, RunFailed, RunStopped)


async def start_run(
    store: RunStore, request: RunRequest, *, run: str | None = None, models: OwnModels = None
) -> LiveRun:
    """Start a run, kept in the store under the name `run` (None: a new one).

    It goes on whether or not its events are read. `models` puts chat models in the place of the pool's.

    Raises:
        InputError: the request is unusable, or there is such a run.
        PoolError, PromptError, ModelLoadError: the pool, a prompt or a model is.
        StoreError: the run cannot be kept.
    """
    asked = request.asked(distinct=True)
    pool = Pool.load(request.pool)
    folder = None if request.prompts is None else Path(request.prompts)
    prompts = PromptSet.load(folder)
    setup = Setup.of(request.mode, request.scoring, asked, (request.pool, pool), (folder, prompts), voice=request.voice)
    return await start(store, run or new_name(), setup, Edited(pool, prompts, {}), models=models)


async def start(
    store: RunStore,
    run: str,
    setup: Setup,
    made_of: Edited,
    *,
    cache: NodeCache | None = None,
    models: OwnModels = None,
) -> LiveRun:
    """Start what is set up. What is in `cache` comes from the run in `setup.origin` and is not run again."""
    check_id(run)
    opened = PoolModels(made_of.pool, models)
    opened.check()
    graph = build_graph(setup.mode, setup.scoring, made_of, opened, voice=setup.voice)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(store.claim(run))
        await RunTable(store).add(run, setup)
        live = LiveRun(store, run, setup, graph, opened, cache)
        live.begin(stack.pop_all())
        return live


def new_name() -> str:
    """A name for a run: when it began, and four letters that tell it from others of that second."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


class LiveRun:
    """One run of this process, called `run` in the store."""

    def __init__(
        self,
        store: RunStore,
        run: str,
        setup: Setup,
        graph: StateGraph[Any, Any, Any, Any],
        models: PoolModels,
        cache: NodeCache | None,
    ) -> None:
        self.run = run
        self.setup = setup
        self._store = store
        self._graph = graph
        self._models = models
        self._cache = cache
        self._events: list[Event] = []
        self._news = asyncio.Condition()
        self._unkept: list[CallMade | NodeReused] = []
        self._reused = 0
        self._begun: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._started = time.monotonic()
        self._nodes = picture(setup.mode, setup.communities, setup.voice)
        self._branches = {node.id.partition("/")[0] for node in self._nodes if "/" in node.id}

    def begin(self, claim: AsyncExitStack) -> None:
        """Start the work; `claim` is closed at its end."""
        self._task = asyncio.create_task(self._work(claim), name=f"run {self.run}")

    async def events(self) -> AsyncIterator[Event]:
        """Every event from the first one on; ends after RunFinished, RunFailed or RunStopped. Any number of readers."""
        at = 0
        while True:
            async with self._news:
                await self._news.wait_for(lambda: len(self._events) > at)  # noqa: B023
            for event in self._events[at:]:
                yield event
                if isinstance(event, _END):
                    return
                at += 1

    @property
    def done(self) -> bool:
        """Whether the run has ended, in whatever way."""
        return self._task is not None and self._task.done()

    async def stop(self) -> None:
        """Stop it, and wait until it has; does nothing once it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def wait(self) -> RunFinished | RunFailed | RunStopped:
        """Wait for the end of the run; returns its last event."""
        if self._task is not None:
            await asyncio.wait([self._task])
        last = self._events[-1]
        assert isinstance(last, _END)
        return last

    async def _work(self, claim: AsyncExitStack) -> None:
        end: Event = RunStopped(0.0)
        watcher = CallWatcher(self.run, self._models, self._tell)
        try:
            self._tell(RunStarted(self.run, self._nodes), *(NodeWaiting(node.id) for node in self._nodes))
            state = await keep(self._store, self.run, self._stream(watcher))
            end = RunFinished(state, self._seconds())
        except asyncio.CancelledError:
            end = RunStopped(self._seconds())
        except PluralismError as error:
            end = RunFailed(redact(str(error)), self._seconds())
        except Exception as error:
            text = redact(f"{type(error).__name__}: {error}")
            end = RunFailed(text, self._seconds())
            with suppress(PluralismError):
                await RunTable(self._store).fail(self.run, text)
        finally:
            # A second cancelling must not leave half of this undone.
            await asyncio.shield(asyncio.ensure_future(self._close(watcher, claim, end)))

    async def _close(self, watcher: CallWatcher, claim: AsyncExitStack, end: Event) -> None:
        watcher.close()
        try:
            await self._keep_records()
        except PluralismError as error:
            end = end if isinstance(end, RunFailed) else RunFailed(redact(str(error)), self._seconds())
        finally:
            await claim.aclose()
            self._tell(end)
            await self._call()

    async def _stream(self, watcher: CallWatcher) -> dict[str, Any]:
        config = RunnableConfig(configurable={"thread_id": self.run}, callbacks=[watcher])
        compiled = self._graph.compile(checkpointer=self._store.saver, cache=self._cache or NodeCache())
        # LangGraph types the parts of a stream by its default mode, which is not this one.
        stream: Any = compiled.astream(
            self.setup.asked,
            config,
            stream_mode=["messages", "tasks", "updates", "values"],
            subgraphs=True,
            durability="sync",
        )
        final: dict[str, Any] = {}
        async for namespace, kind, data in stream:
            if kind == "values":
                final = final if namespace else data
            else:
                self._tell(*self._translated(namespace, kind, data))
            await self._keep_records()
            await self._call()
        if not final:
            raise PluralismError("The run ended without a result.")
        return final

    def _translated(self, namespace: Sequence[str], kind: str, data: Any) -> list[Event]:
        """What a part of LangGraph's stream says, in our words."""
        if kind == "messages":
            message, metadata = data
            text, node = str(message.text), node_id(metadata["langgraph_node"], "|".join(namespace))
            return [NodeToken(node, text)] if text else []
        if kind == "tasks":
            return [] if self._is_branch(namespace, data["name"]) else self._task_event(namespace, data)
        reused = bool((data.pop("__metadata__", None) or {}).get("cached"))
        return [
            self._written(node_id(name, "|".join(namespace)), update or {}, reused)
            for name, update in data.items()
            if not self._is_branch(namespace, name)
        ]

    def _task_event(self, namespace: Sequence[str], data: dict[str, Any]) -> list[Event]:
        node = node_id(data["name"], "|".join(namespace))
        if "result" not in data and "error" not in data:
            self._begun[node] = time.monotonic()
            return [NodeStarted(node)]
        # A result is told as an update, too.
        return [NodeFailed(node, redact(str(data["error"])), self._since(node))] if data.get("error") else []

    def _written(self, node: str, update: dict[str, Any], reused: bool) -> Event:
        if reused:
            origin = self.setup.origin
            return NodeReused(node, update, None if origin is None else origin.run)
        for comment in (update.get("comments") or {}).values():
            if comment["error"] is not None:
                return NodeFailed(node, comment["error"], self._since(node))
        return NodeFinished(node, update, self._since(node))

    def _is_branch(self, namespace: Sequence[str], name: str) -> bool:
        """Whether this is a community's branch as a whole, whose nodes tell of themselves."""
        return not namespace and name in self._branches

    def _tell(self, *events: Event) -> None:
        self._events += events
        self._unkept += [event for event in events if isinstance(event, CallMade | NodeReused)]

    async def _call(self) -> None:
        """Wake whoever waits for events."""
        async with self._news:
            self._news.notify_all()

    async def _keep_records(self) -> None:
        while self._unkept:
            event = self._unkept.pop(0)
            if isinstance(event, CallMade):
                await add_record(self._store, self.run, "call", event.record["number"], cast(Any, event.record))
            elif event.source is not None:
                self._reused += 1
                record = {"node": event.node, "source": event.source}
                await add_record(self._store, self.run, "reused", self._reused, record)

    def _since(self, node: str) -> float:
        return round(time.monotonic() - self._begun.get(node, time.monotonic()), 4)

    def _seconds(self) -> float:
        return round(time.monotonic() - self._started, 4)
