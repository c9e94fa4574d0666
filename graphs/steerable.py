"""Steerable: check → every community comments in parallel → select → respond."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph.graph import END, StateGraph

from modular_pluralism.graphs.parts import Comments, Models, Parts
from modular_pluralism.graphs.state import SteerableQuestion, SteerableState
from modular_pluralism.modes import ModeDescription, Takes, register_mode
from modular_pluralism.nodes.request import check_scoring
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
    comments: Comments = None,
) -> StateGraph[Any, Any, Any, Any]:
    """The steerable graph (section 3 of the paper), not compiled.

    `scoring` is how a question with options is answered. Input: `SteerableQuestion`. Output: `SteerableState`.
    The other arguments and errors are those of `build_overton`.
    """
    parts = Parts.of(pool, prompts, models, "steerable", {"seed": seed}, comments, STEERABLE.takes)
    run = parts.pool.run
    check_scoring(scoring)
    graph = StateGraph(SteerableState, input_schema=SteerableQuestion)
    parts.add_check(graph)
    for name in parts.communities:
        parts.add_comment(graph, name)
        graph.add_edge("check", name)
        graph.add_edge(name, "select")  # after all of them, which run in one superstep
    selecting = select(parts.models, parts.prompts, communities=parts.communities, quorum=parts.pool.quorum)
    parts.add(graph, "select", selecting)
    responding = respond(
        parts.models, parts.prompts, max_tokens=run.answer_tokens, scoring=scoring, samples=run.score_samples
    )
    parts.add(graph, "respond", responding)
    graph.add_edge("select", "respond")
    graph.add_edge("respond", END)
    return graph


STEERABLE = register_mode(
    ModeDescription(
        name="steerable",
        work="every community comments in parallel → a selector picks the comment that best reflects an attribute → "
        "the base LLM answers with it",
        outcome="an answer or a choice, and the selected community",
        tool="Answer a question in the light of a given value, demographic or culture.",
        build=build_steerable,
        state=SteerableState,
        takes=Takes(attribute="required", options="optional"),
        writer="respond",
    )
)
