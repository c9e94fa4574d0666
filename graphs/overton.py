"""Overton: check → every community comments in parallel → merge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph.graph import END, START, StateGraph

from modular_pluralism.graphs.parts import Models, Parts
from modular_pluralism.graphs.state import OvertonState, Question
from modular_pluralism.nodes.check import check
from modular_pluralism.nodes.merge import merge
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet


def build_overton(
    pool: Pool | str | Path = "perspective",
    *,
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
) -> StateGraph[Any, Any, Any, Any]:
    """The Overton graph (section 3 of the paper), not compiled: `compile()` it, to run it or as a node of a graph of
    your own.

    `prompts` replaces the built-in prompts; `models` puts your own LangChain chat models in the place of the pool's
    [models.*], by name; `seed` is for questions that have none (default 0). Input: `Question`. Output: `OvertonState`.

    Raises:
        PoolError, PromptError: the pool or a prompt is unusable. Models are opened by the first run.
    """
    parts = Parts.of(pool, prompts, models, "overton", {"seed": seed})
    graph = StateGraph(OvertonState, input_schema=Question)
    graph.add_node("check", parts.node(check(), "check"))
    graph.add_edge(START, "check")
    for name in parts.communities:
        graph.add_node(name, parts.comment_node(name))
        graph.add_edge("check", name)
    step = merge(
        parts.models,
        parts.prompts,
        communities=parts.communities,
        quorum=parts.pool.quorum,
        max_tokens=parts.pool.run.answer_tokens,
    )
    graph.add_node("merge", parts.node(step, "merge"))
    graph.add_edge(parts.communities, "merge")
    graph.add_edge("merge", END)
    return graph
