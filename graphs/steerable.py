"""Steerable: check → every community comments in parallel → select → respond."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph.graph import END, START, StateGraph

from modular_pluralism.graphs.parts import Models, Parts
from modular_pluralism.graphs.state import SteerableQuestion, SteerableState
from modular_pluralism.nodes.check import check
from modular_pluralism.nodes.respond import respond
from modular_pluralism.nodes.select import select
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring


def build_steerable(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
) -> StateGraph[Any, Any, Any, Any]:
    """The steerable graph (section 3 of the paper), not compiled.

    `scoring` is how a question with options is answered. Input: `SteerableQuestion`. Output: `SteerableState`.
    The other arguments and errors are those of `build_overton`.
    """
    parts = Parts.of(pool, prompts, models, "steerable", {"seed": seed})
    run = parts.pool.run
    graph = StateGraph(SteerableState, input_schema=SteerableQuestion)
    graph.add_node("check", parts.node(check(attribute=True), "check"))
    graph.add_edge(START, "check")
    for name in parts.communities:
        graph.add_node(name, parts.comment_node(name))
        graph.add_edge("check", name)
    selecting = select(parts.models, parts.prompts, communities=parts.communities, quorum=parts.pool.quorum)
    graph.add_node("select", parts.node(selecting, "select"))
    graph.add_edge(parts.communities, "select")
    responding = respond(
        parts.models, parts.prompts, max_tokens=run.answer_tokens, scoring=scoring, samples=run.score_samples
    )
    graph.add_node("respond", parts.node(responding, "respond"))
    graph.add_edge("select", "respond")
    graph.add_edge("respond", END)
    return graph
