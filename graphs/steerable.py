"""Steerable: check → every community comments in parallel → select → respond."""

from __future__ import annotations

from pathlib import Path

from langgraph.graph import END, StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.graphs.parts import Comments, Models, Parts
from modular_pluralism.graphs.state import SteerableQuestion, SteerableState
from modular_pluralism.modes import ModeDescription, Takes, register_mode
from modular_pluralism.nodes.select import select
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring


@checked
def build_steerable(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    comments: Comments = None,
) -> StateGraph[SteerableState, None, SteerableQuestion, SteerableState]:
    """The steerable graph (section 3 of the paper): every community comments, the comment that best reflects the
    question's attribute is selected, and the base LLM answers with it.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        comments: Comments that are known already, by community: those communities are not asked.

    Returns:
        The graph, not compiled.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such scoring, or a comment is given of a community that is not in the pool.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_steerable

        mine = FakeListChatModel(responses=["1"])  # any LangChain chat model; this one selects the first comment
        graph = build_steerable("culture", models={"smollm2": mine}).compile()
        state = graph.invoke({"question": "Should wages be public?", "attribute": "the right to privacy"})
        print(state["selected"]["community"], state["answer"])
        ```
    """
    parts = Parts(pool, prompts, models, "steerable", {"seed": seed}, comments, STEERABLE.takes)
    graph = StateGraph(SteerableState, input_schema=SteerableQuestion)
    parts.add_check(graph)
    for name in parts.communities:
        parts.add_comment(graph, name)
        graph.add_edge("check", name)
        graph.add_edge(name, "select")  # after all of them, which run in one superstep
    selecting = select(parts.models, parts.prompts, communities=parts.communities, quorum=parts.pool.quorum)
    parts.add(graph, "select", selecting)
    parts.add(graph, "respond", parts.answer("respond", scoring))
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
