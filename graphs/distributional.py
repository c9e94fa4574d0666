"""Distributional: check → in parallel, each community's branch (it comments → its comment is scored) → aggregate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph.graph import END, START, StateGraph

from modular_pluralism.graphs.parts import Models, Parts
from modular_pluralism.graphs.state import BranchOutput, DistributionalQuestion, DistributionalState
from modular_pluralism.nodes.aggregate import aggregate
from modular_pluralism.nodes.check import check
from modular_pluralism.nodes.score import score
from modular_pluralism.nodes.step import State
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring


def build_distributional(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
) -> StateGraph[Any, Any, Any, Any]:
    """The distributional graph (section 3 of the paper), not compiled.

    `scoring` is how option probabilities are read: "label", "rotate" or "text". Input: `DistributionalQuestion`.
    Output: `DistributionalState`. The other arguments and errors are those of `build_overton`.
    """
    parts = Parts.of(pool, prompts, models, "distributional", {"seed": seed})
    graph = StateGraph(DistributionalState, input_schema=DistributionalQuestion)
    graph.add_node("check", parts.node(check(options=True), "check"))
    graph.add_edge(START, "check")
    for name in parts.communities:
        graph.add_node(name, _branch(parts, name, scoring).compile())
        graph.add_edge("check", name)
    pooling = aggregate(priors=parts.pool.priors, quorum=parts.pool.quorum)
    graph.add_node("aggregate", parts.node(pooling, "aggregate"))
    graph.add_edge(parts.communities, "aggregate")
    graph.add_edge("aggregate", END)
    return graph


def _branch(parts: Parts, name: str, scoring: Scoring) -> StateGraph[Any, Any, Any, Any]:
    """One community's own work. A subgraph, since in one layer after another the slowest community would hold up the
    scoring of all comments."""
    branch = StateGraph(DistributionalState, input_schema=DistributionalQuestion, output_schema=BranchOutput)
    branch.add_node(name, parts.comment_node(name))
    scoring_step = score(name, parts.models, parts.prompts, scoring=scoring, samples=parts.pool.run.score_samples)
    branch.add_node("score", parts.node(scoring_step, "score", community=name))
    branch.add_edge(START, name)

    def answered(state: State) -> str:
        return END if state["comments"][name]["error"] else "score"

    branch.add_conditional_edges(name, answered, ["score", END])
    branch.add_edge("score", END)
    return branch
