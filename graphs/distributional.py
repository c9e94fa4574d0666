"""Distributional: check → in parallel, each community's branch (it comments → its comment is scored) → aggregate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph.graph import END, START, StateGraph

from modular_pluralism.graphs.nesting import NestingGraph
from modular_pluralism.graphs.node_key import question_of
from modular_pluralism.graphs.parts import Comments, Models, Parts
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
    comments: Comments = None,
) -> StateGraph[Any, Any, Any, Any]:
    """The distributional graph (section 3 of the paper), not compiled.

    `scoring` is how option probabilities are read: "label", "rotate" or "text". Input: `DistributionalQuestion`.
    Output: `DistributionalState`. The other arguments and errors are those of `build_overton`.
    """
    parts = Parts.of(pool, prompts, models, "distributional", {"seed": seed}, comments)
    graph = NestingGraph(DistributionalState, input_schema=DistributionalQuestion)
    parts.add(graph, "check", check(options=True), also=parts.communities)
    graph.add_edge(START, "check")
    for name in parts.communities:
        graph.add_node(name, _branch(parts, name, scoring).compile())
        graph.add_edge("check", name)
        graph.add_edge(name, "aggregate")  # after all of them, which run in one superstep
    pooling = aggregate(priors=parts.pool.priors, quorum=parts.pool.quorum)
    parts.add(graph, "aggregate", pooling)
    graph.add_edge("aggregate", END)
    return graph


def _branch(parts: Parts, name: str, scoring: Scoring) -> StateGraph[Any, Any, Any, Any]:
    """One community's own work. A subgraph, since in one layer after another the slowest community would hold up the
    scoring of all comments."""
    branch = StateGraph(DistributionalState, input_schema=DistributionalQuestion, output_schema=BranchOutput)
    parts.add_comment(branch, name)
    samples = parts.pool.run.score_samples
    scoring_step = score(name, parts.models, parts.prompts, scoring=scoring, samples=samples)
    reads = question_of("seed", "options")
    parts.add(branch, "score", scoring_step, community=name, reads=reads, also=[scoring, samples])
    branch.add_edge(START, name)

    def answered(state: State) -> str:
        return END if state["comments"][name]["error"] else "score"

    branch.add_conditional_edges(name, answered, ["score", END])
    branch.add_edge("score", END)
    return branch
