"""All three modes in one graph, which routes by the mode that the question names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from langgraph.graph import END, START, StateGraph

from modular_pluralism.graphs.distributional import build_distributional
from modular_pluralism.graphs.nesting import NestingGraph
from modular_pluralism.graphs.overton import build_overton
from modular_pluralism.graphs.parts import Models, Parts
from modular_pluralism.graphs.state import PluralismQuestion, PluralismState, PluralismTwoVoicesState
from modular_pluralism.graphs.steerable import build_steerable
from modular_pluralism.nodes.check import check
from modular_pluralism.nodes.step import State
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Mode, Scoring, Voice


def build_pluralism(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    voice: Voice = "comment",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    mode: Mode | None = None,
) -> StateGraph[Any, Any, Any, Any]:
    """One graph for the three modes, not compiled; the input's `mode` picks the subgraph, and the argument `mode` is
    for questions that name none.

    Input: `PluralismQuestion`. Output: `PluralismState`. The arguments and errors are those of the modes' builders.
    """
    parts = Parts.of(pool, prompts, models, defaults={"mode": mode})
    shared: dict[str, Any] = {"prompts": parts.prompts, "models": parts.models, "seed": seed}
    state = PluralismTwoVoicesState if voice == "both" else PluralismState
    graph = NestingGraph(state, input_schema=PluralismQuestion)
    parts.add(graph, "check", check(mode=True))
    graph.add_edge(START, "check")
    graph.add_node("overton", build_overton(parts.pool, **shared).compile())
    graph.add_node("steerable", build_steerable(parts.pool, scoring=scoring, **shared).compile())
    distributional = build_distributional(parts.pool, scoring=scoring, voice=voice, **shared)
    graph.add_node("distributional", distributional.compile())

    def route(state: State) -> str:
        return str(state.get("mode") or mode)

    graph.add_conditional_edges("check", route, list(get_args(Mode)))
    for each in get_args(Mode):
        graph.add_edge(each, END)
    return graph
