"""One graph factory an assistant. The server calls it for each run, so that the run's context decides the graph: which
communities are its nodes depends on the pool.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import StateGraph
from langgraph_sdk.runtime import ServerRuntime

from modular_pluralism.assistants.context import (
    AnyModeContext,
    DistributionalContext,
    GraphName,
    ScoredContext,
    check_keys,
    context_schema,
    edited_prompts,
    read_context,
)
from modular_pluralism.assistants.offered import load_pool, load_prompts
from modular_pluralism.graphs import build_distributional, build_overton, build_pluralism, build_steerable
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import EmbeddedModel, Pool

Graph = StateGraph[Any, Any, Any, Any]
Runtime = ServerRuntime[Any]

_KEPT = 16
"""Pools whose opened models are kept from run to run."""


async def overton(config: RunnableConfig, runtime: Runtime) -> Graph:
    """The Overton graph for a run's context.

    Raises:
        ContextError: the context names a pool or prompts that are not offered, has a key that the graph does not know,
            or has a value of the wrong kind.
        PoolError, PromptError, ModelLoadError: what it names cannot be used.
    """
    return await _made("overton", config, runtime)


async def steerable(config: RunnableConfig, runtime: Runtime) -> Graph:
    """The steerable graph for a run's context. Raises as `overton` does."""
    return await _made("steerable", config, runtime)


async def distributional(config: RunnableConfig, runtime: Runtime) -> Graph:
    """The distributional graph for a run's context. Raises as `overton` does."""
    return await _made("distributional", config, runtime)


async def pluralism(config: RunnableConfig, runtime: Runtime) -> Graph:
    """The graph of all modes for a run's context. Raises as `overton` does."""
    return await _made("pluralism", config, runtime)


async def _made(name: GraphName, config: RunnableConfig, runtime: Runtime) -> Graph:
    run = runtime.execution_runtime
    if run is not None and isinstance(run.context, Mapping):
        check_keys(name, run.context)
    # In a thread: pools, prompts and models are files, and the event loop serves everybody.
    return await asyncio.to_thread(_make, name, config.get("configurable") or {})


def _make(name: GraphName, values: Mapping[str, Any]) -> Graph:
    context = read_context(name, values)
    pool = load_pool(context.pool)
    given = load_prompts(context.prompts)
    parts: dict[str, Any] = {
        "prompts": edited_prompts(name, values, given),
        "models": _models_of(pool),
        "seed": context.seed,
    }
    if isinstance(context, ScoredContext):
        parts["scoring"] = context.scoring
    if isinstance(context, DistributionalContext):
        parts["voice"] = context.voice
    if isinstance(context, AnyModeContext):
        parts["mode"] = context.mode
    graph: Graph = _BUILDERS[name](pool, **parts)
    graph.context_schema = context_schema(name, pool, given)
    return graph


_BUILDERS: dict[GraphName, Any] = {
    "overton": build_overton,
    "steerable": build_steerable,
    "distributional": build_distributional,
    "pluralism": build_pluralism,
}

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
