"""Graphs that have graphs as nodes, and share their cache with them."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.typing import ContextT, InputT, OutputT, StateT


class NestingGraph(StateGraph[StateT, ContextT, InputT, OutputT]):
    """A StateGraph whose cache is its subgraphs' cache, too: LangGraph hands down checkpointers, but no cache."""

    def compile(self, *arguments: Any, **settings: Any) -> CompiledStateGraph[StateT, ContextT, InputT, OutputT]:
        """See StateGraph. The graph itself stays as it is, so that it can be compiled with another cache."""
        cache = settings.get("cache")
        if cache is None:
            compiled = super().compile(*arguments, **settings)
            for node in compiled.nodes.values():
                node.cache_policy = None  # LangGraph makes the key of every node before it finds that there is no cache
            return compiled
        sharing = copy(self)
        sharing.nodes = {
            name: replace(spec, runnable=spec.runnable.builder.compile(cache=cache))
            if isinstance(spec.runnable, CompiledStateGraph)
            else spec
            for name, spec in self.nodes.items()
        }
        return super(NestingGraph, sharing).compile(*arguments, **settings)
