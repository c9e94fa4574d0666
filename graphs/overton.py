"""Overton: check → every community comments in parallel → merge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.graphs.parts import AnswerSchema, Comments, Models, Parts, checked_schema, no_tools
from modular_pluralism.graphs.state import OvertonQuestion, OvertonResult, OvertonState
from modular_pluralism.llama.reply_schema import ReplySchema
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.modes import ModeDescription, Takes, register_mode
from modular_pluralism.nodes import merge as merge_step
from modular_pluralism.nodes.own import CommentStage, Merge
from modular_pluralism.nodes.step import Step
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import EvidenceTold


@checked
def build_overton(
    pool: Pool | str | Path = "perspective",
    *,
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    comments: Comments = None,
    communities: Sequence[str] | None = None,
    after_comments: Sequence[CommentStage] = (),
    evidence: EvidenceTold | None = None,
    merge: Merge | None = None,
    answer_schema: AnswerSchema = None,
    tools: Sequence[Any] | None = None,
    into: str | None = None,
) -> StateGraph[OvertonState, None, OvertonQuestion, OvertonResult]:
    """The Overton graph (section 3 of the paper): every community comments, and the base LLM merges the comments.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        comments: Comments that are known already, by community: those communities are not asked.
        communities: Those of the pool that are asked (default: all).
        after_comments: Stages of your own for every comment, one after the other, each in its community's branch; see
            `CommentStage`.
        evidence: Which of its people's answers a community with a record is told before it comments: "all" that are
            near enough, those to "others" than the asked question, or "none" (default: as the pool's [run] table says).
        merge: Your own merge, in the place of the base LLM's; see `Merge`.
        answer_schema: A class of pydantic, a TypedDict or a JSON schema that the answer follows; its value, in plain
            form, is then in `structured`.
        tools: What the base LLM may call where it writes the answer: functions, classes of pydantic, LangChain's tools
            or OpenAI's tables, for questions that have no `tools` of their own. Nobody else is told of them.
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled: `compile()` it, to run it or as a node of a graph of your own. A run returns an
        `OvertonResult`.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: A comment is given of a community that is not in the pool, a stage is nothing that could be asked,
            `answer_schema` or a tool cannot be used, both are given, or `into` is no key that is free.

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
    parts = Parts(
        pool,
        prompts,
        models,
        "overton",
        {"seed": seed},
        comments,
        OVERTON.takes,
        communities=communities,
        after_comments=after_comments,
        evidence=evidence,
        into=into,
        tools=tools,
        no_tools=no_tools(merge, "merge", answer_schema),
    )
    graph = parts.graph(OvertonState, OvertonQuestion, OvertonResult)
    parts.add_check(graph)
    for name in parts.communities:
        parts.add_commenting(graph, name)
        graph.add_edge("check", name)
        graph.add_edge(name, "merge")  # after all of them, which run in one superstep
    parts.add(graph, "merge", _merging(parts, merge, checked_schema(answer_schema, merge, "merge")))
    parts.add_end(graph, "merge")
    return graph


def _merging(parts: Parts, own: Merge | None, schema: ReplySchema | None) -> Step:
    who: Any = {"communities": parts.communities, "quorum": parts.pool.quorum}
    if own is not None:
        return merge_step.own_merge(OwnPart.of("merge", own), **who)
    max_tokens = parts.pool.run.answer_tokens
    return merge_step.merge(parts.models, parts.prompts, max_tokens=max_tokens, schema=schema, **who)


OVERTON = register_mode(
    ModeDescription(
        name="overton",
        work="every community comments in parallel → the base LLM merges the comments",
        outcome="one answer that covers the spectrum of views",
        tool="Answer a question on which people disagree with the whole spectrum of their views.",
        build=build_overton,
        state=OvertonState,
        takes=Takes(tools=True),
        writer="merge",
        structured=True,
    )
)
