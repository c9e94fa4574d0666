"""Overton: check → every community comments in parallel → merge."""

from __future__ import annotations

from pathlib import Path

from langgraph.graph import END, StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.graphs.parts import Comments, Models, Parts
from modular_pluralism.graphs.state import OvertonQuestion, OvertonState
from modular_pluralism.modes import ModeDescription, register_mode
from modular_pluralism.nodes.merge import merge
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet


@checked
def build_overton(
    pool: Pool | str | Path = "perspective",
    *,
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    comments: Comments = None,
) -> StateGraph[OvertonState, None, OvertonQuestion, OvertonState]:
    """The Overton graph (section 3 of the paper): every community comments, and the base LLM merges the comments.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        comments: Comments that are known already, by community: those communities are not asked.

    Returns:
        The graph, not compiled: `compile()` it, to run it or as a node of a graph of your own.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: A comment is given of a community that is not in the pool.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_overton

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        graph = build_overton("perspective", models={"smollm2": mine}).compile()
        state = graph.invoke({"question": "Should a city ban cars from its centre?"})
        print(state["answer"], state["missing"])
        ```
    """
    parts = Parts(pool, prompts, models, "overton", {"seed": seed}, comments, OVERTON.takes)
    graph = StateGraph(OvertonState, input_schema=OvertonQuestion)
    parts.add_check(graph)
    for name in parts.communities:
        parts.add_comment(graph, name)
        graph.add_edge("check", name)
        graph.add_edge(name, "merge")  # after all of them, which run in one superstep
    step = merge(
        parts.models,
        parts.prompts,
        communities=parts.communities,
        quorum=parts.pool.quorum,
        max_tokens=parts.pool.run.answer_tokens,
    )
    parts.add(graph, "merge", step)
    graph.add_edge("merge", END)
    return graph


OVERTON = register_mode(
    ModeDescription(
        name="overton",
        work="every community comments in parallel → the base LLM merges the comments",
        outcome="one answer that covers the spectrum of views",
        tool="Answer a question on which people disagree with the whole spectrum of their views.",
        build=build_overton,
        state=OvertonState,
        writer="merge",
    )
)
