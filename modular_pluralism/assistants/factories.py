"""One graph factory an assistant. The server calls it for each run, so that the run's context decides the graph: which
communities are its nodes depends on the pool.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.constants import CONFIG_KEY_CHECKPOINTER
from langgraph.graph import StateGraph
from langgraph_sdk.runtime import ServerRuntime

from modular_pluralism.assistants.context import PLURALISM, check_keys, context_schema, edited_prompts, read_context
from modular_pluralism.assistants.offered import load_pool, load_prompts
from modular_pluralism.graphs import build_pluralism
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import find_mode, modes
from modular_pluralism.pool import EmbeddedModel, Pool

Graph = StateGraph[Any, Any, Any, Any]
Runtime = ServerRuntime[Any]

_KEPT = 16
"""Pools whose opened models are kept from run to run."""


Factory = Callable[[RunnableConfig, Runtime], Awaitable[Graph]]


def factory(name: str) -> Factory:
    """The factory of a mode's graph, or of "pluralism", the graph of all modes.

    The factory raises:
        ContextError: the context names a pool or prompts that are not offered, has a key that the graph does not know,
            or has a value of the wrong kind.
        PoolError, PromptError, ModelLoadError: what it names cannot be used.
    """

    async def make(config: RunnableConfig, runtime: Runtime) -> Graph:
        run = runtime.execution_runtime
        context = run.context if run is not None and isinstance(run.context, Mapping) else {}
        values = dict(config.get("configurable") or {})
        if run is None:
            values |= await _context_of_thread(values)
        # In a thread: pools, prompts and models are files, and the event loop serves everybody.
        return await asyncio.to_thread(_make, name, context, values)

    make.__name__ = make.__qualname__ = name
    return make


async def _context_of_thread(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The context of the thread's last run, where a thread's state is read or changed: the server tells that of the
    assistant, and a run may have had another pool, and so other nodes. Checkpoints have it in their metadata."""
    saver, thread = values.get(CONFIG_KEY_CHECKPOINTER), values.get("thread_id")
    if not isinstance(saver, BaseCheckpointSaver) or thread is None:
        return {}
    async for kept in saver.alist({"configurable": {"thread_id": thread, "checkpoint_ns": ""}}):
        if kept.metadata.get("source") in ("input", "loop"):  # what changes a state tells no context
            return cast(Mapping[str, Any], kept.metadata)
    return {}


def _make(name: str, given_context: Mapping[str, Any], values: Mapping[str, Any]) -> Graph:
    check_keys(name, given_context)
    context = read_context(name, values)
    pool = load_pool(context.pool)
    given = load_prompts(context.prompts)
    build = build_pluralism if name == PLURALISM else find_mode(name).build
    graph: Graph = build(
        pool,
        prompts=edited_prompts(name, values, given),
        models=_models_of(pool),
        **context.model_dump(exclude={"pool", "prompts"}),
    )
    graph.context_schema = context_schema(name, pool, given)
    return graph


_models: OrderedDict[str, PoolModels] = OrderedDict()
_lock = threading.Lock()


def _models_of(pool: Pool) -> PoolModels:
    """The pool's models, the same ones for every run: remote ones keep connections open."""
    key = pool.model_dump_json()
    with _lock:
        models = _models.setdefault(key, PoolModels(pool))
        _models.move_to_end(key)
        while len(_models) > _KEPT:
            _models.popitem(last=False)
    _find_files(pool, models)
    return models


def _find_files(pool: Pool, models: PoolModels) -> None:
    """Open embedded models, which looks for their files, before the graph does so on the event loop."""
    if isinstance(pool.models[pool.base], EmbeddedModel):
        models.base()
    for name, community in pool.communities.items():
        if isinstance(pool.models[community.model], EmbeddedModel):
            models.community(name)


# LangGraph's server looks a factory up in this module by its name, as in "factories:overton".
globals().update({name: factory(name) for name in [*modes(), PLURALISM]})


def __getattr__(name: str) -> Factory:
    """The factory of a mode that was added since."""
    if name in modes():
        return factory(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
