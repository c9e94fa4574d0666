"""Graphs that have graphs as nodes, and share their cache with them."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import replace
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import START, StateGraph
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


class AskedGraph(NestingGraph[StateT, ContextT, InputT, OutputT]):
    """A NestingGraph of which each input is a whole question: on a thread, a part that it does not have is not taken
    from the question before, whose options or tools' results would belong to something else."""

    def compile(self, *arguments: Any, **settings: Any) -> CompiledStateGraph[StateT, ContextT, InputT, OutputT]:
        """See NestingGraph."""
        compiled = super().compile(*arguments, **settings)
        start = compiled.nodes[START]
        # In the place of what writes the input: as its `bound` it would be a run of its own in every trace.
        vars(start)["node"] = _Whole(start.node, self.schemas[self.input_schema])
        return compiled


class _Whole(Runnable[Any, Any]):
    """Writes an input, with None for the parts that only the question before has."""

    def __init__(self, write: Any, parts: Iterable[str]) -> None:
        self._write = write
        self._parts = list(parts)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        return self._write.invoke(self._whole(input, config), config)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:
        return await self._write.ainvoke(self._whole(input, config), config)

    def _whole(self, given: Any, config: RunnableConfig | None) -> Any:
        if not isinstance(given, dict):  # not a question, but a Command
            return given
        before = (config or {})["configurable"]["__pregel_read"](self._parts, False)  # as LangGraph's own edges read
        return {**{part: None for part in self._parts if before.get(part) is not None}, **given}
