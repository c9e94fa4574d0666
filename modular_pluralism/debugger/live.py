"""A run that is on: it is kept in the store as it goes, tells what happens, and can be stopped."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph

from modular_pluralism.debugger.build import OwnModels, build_graph, node_id, nodes_of
from modular_pluralism.debugger.events import (
    CallMade,
    Event,
    NodeEnded,
    NodeStarted,
    NodeToken,
    RunEnded,
    RunStarted,
)
from modular_pluralism.debugger.records import add_record
from modular_pluralism.debugger.watch import CallWatcher
from modular_pluralism.errors import PluralismError
from modular_pluralism.graphs import NodeCache
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.models.redaction import KeylessText, redact
from modular_pluralism.nodes.request import Request
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.edits import Edited
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import RunTable, check_id, keep
from modular_pluralism.runs.setup import Setup


class RunRequest(Request):
    """A run. `pool` is a built-in name or a path, `prompts` a folder that is laid over the built-in prompts."""

    pool: str = "perspective"
    seed: int = 0
    prompts: str | None = None


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
    asked = request.asked()
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
    opened.check(setup.voice)
    setup = setup.with_model_files(made_of.pool)
    graph = build_graph(setup.mode, setup.scoring, made_of, opened, voice=setup.voice)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(store.claim(run))
        await RunTable(store).add(run, setup)
        return LiveRun(store, run, setup, graph, opened, cache, stack.pop_all())


def new_name() -> str:
    """A name for a run: when it began, and four letters that tell it from others of that second."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


class LiveRun:
    """One run of this process, called `run` in the store; `claim` is closed at its end."""

    def __init__(
        self,
        store: RunStore,
        run: str,
        setup: Setup,
        graph: StateGraph[Any, Any, Any, Any],
        models: PoolModels,
        cache: NodeCache | None,
        claim: AsyncExitStack,
    ) -> None:
        self.run = run
        self.setup = setup
        self._store = store
        self._graph = graph
        self._models = models
        self._cache = cache
        self._events: list[Event] = []
        self._news = asyncio.Condition()
        self._kept = 0
        self._begun: dict[str, float] = {}
        self._said: dict[str, KeylessText] = {}
        self._started = time.monotonic()
        self._nodes = nodes_of(setup)
        self._branches = {node.id.partition("/")[0] for node in self._nodes if "/" in node.id}
        self._task = asyncio.create_task(self._work(claim), name=f"run {run}")

    async def events(self) -> AsyncIterator[Event]:
        """Every event from the first one on; ends after RunEnded. Any number of readers."""
        at = 0
        while True:
            async with self._news:
                await self._news.wait_for(lambda: len(self._events) > at)  # noqa: B023
            for event in self._events[at:]:
                yield event
                if isinstance(event, RunEnded):
                    return
                at += 1

    @property
    def done(self) -> bool:
        """Whether the run has ended, in whatever way."""
        return self._task.done()

    async def stop(self) -> None:
        """Stop it, and wait until it has; does nothing once it has ended."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def wait(self) -> RunEnded:
        """Wait for the end of the run; returns its last event."""
        await asyncio.wait([self._task])
        last = self._events[-1]
        assert isinstance(last, RunEnded)
        return last

    async def _work(self, claim: AsyncExitStack) -> None:
        end = RunEnded("stopped", 0.0)
        watcher = CallWatcher(self.run, self._models, self._tell)
        try:
            self._tell(RunStarted(self.run, self._nodes))
            state = await keep(self._store, self.run, self._stream(watcher))
            end = RunEnded("finished", self._seconds(), result=state)
        except asyncio.CancelledError:
            end = RunEnded("stopped", self._seconds())
        except PluralismError as error:
            end = self._failure(str(error))
        except Exception as error:
            end = self._failure(f"{type(error).__name__}: {error}")
            with suppress(PluralismError):
                await RunTable(self._store).fail(self.run, str(end.error))
        finally:
            # A second cancelling must not leave half of this undone.
            await asyncio.shield(asyncio.ensure_future(self._close(watcher, claim, end)))

    async def _close(self, watcher: CallWatcher, claim: AsyncExitStack, end: RunEnded) -> None:
        watcher.close()
        try:
            await self._keep_records()
        except PluralismError as error:
            end = end if end.state == "failed" else self._failure(str(error))
        finally:
            await claim.aclose()
            self._tell(end)
            await self._call()

    def _failure(self, error: str) -> RunEnded:
        return RunEnded("failed", self._seconds(), error=redact(error))

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
                if kind == "updates":
                    await self._store.saver.settled(self.run)
                self._tell(*self._translated(namespace, kind, data))
            await self._keep_records()
            await self._call()
        if not final:
            raise PluralismError("The run ended without a result.")
        return final

    def _translated(self, namespace: Sequence[str], kind: str, data: Any) -> Iterator[Event]:
        """What a part of LangGraph's stream says, in our words. Of a community's branch, only the nodes tell."""
        branch = "|".join(namespace)
        if kind == "messages":
            message, metadata = data
            if message.text:
                node = node_id(metadata["langgraph_node"], branch)
                if text := self._said.setdefault(node, KeylessText()).passed(str(message.text)):
                    yield NodeToken(node, text)
            return
        reused = bool((data.pop("__metadata__", None) or {}).get("cached"))
        for name in [data["name"]] if kind == "tasks" else list(data):
            if not namespace and name in self._branches:
                continue
            node = node_id(name, branch)
            if kind == "updates":
                if (said := self._said.pop(node, None)) and (rest := said.ended()):
                    yield NodeToken(node, rest)
                yield self._written(node, data[name] or {}, reused)
            elif "result" not in data and "error" not in data:
                self._begun[node] = time.monotonic()
                yield NodeStarted(node)
            elif data.get("error"):  # a result is told as an update, too
                yield NodeEnded(node, "failed", self._since(node), error=redact(str(data["error"])))

    def _written(self, node: str, update: dict[str, Any], reused: bool) -> Event:
        if reused:
            origin = self.setup.origin
            return NodeEnded(node, "reused", 0.0, update, source=None if origin is None else origin.run)
        error = next(filter(None, (comment["error"] for comment in (update.get("comments") or {}).values())), None)
        return NodeEnded(node, "failed" if error else "finished", self._since(node), update, error)

    def _tell(self, *events: Event) -> None:
        self._events += events

    async def _call(self) -> None:
        """Wake whoever waits for events."""
        async with self._news:
            self._news.notify_all()

    async def _keep_records(self) -> None:
        """Keep what has been told since the last time, as far as a store keeps it."""
        while self._kept < len(self._events):
            event = self._events[self._kept]
            self._kept += 1
            if isinstance(event, CallMade):
                await add_record(self._store, self.run, "call", event.record.number, asdict(event.record))
            elif isinstance(event, NodeEnded) and event.source is not None:
                record = {"node": event.node, "source": event.source}
                await add_record(self._store, self.run, "reused", self._kept, record)

    def _since(self, node: str) -> float:
        return round(time.monotonic() - self._begun.get(node, time.monotonic()), 4)

    def _seconds(self) -> float:
        return round(time.monotonic() - self._started, 4)
