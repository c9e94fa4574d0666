"""The comments alone: check → every community comments in parallel → attend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langgraph.graph import StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.graphs.parts import Comments, Models, Parts
from modular_pluralism.graphs.state import CommentsQuestion, CommentsResult, CommentsState
from modular_pluralism.nodes.own import CommentStage
from modular_pluralism.nodes.quorum import attend
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import EvidenceTold


@checked
def build_comments(
    pool: Pool | str | Path = "perspective",
    *,
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    comments: Comments = None,
    communities: Sequence[str] | None = None,
    after_comments: Sequence[CommentStage] = (),
    evidence: EvidenceTold | None = None,
    into: str | None = None,
) -> StateGraph[CommentsState, None, CommentsQuestion, CommentsResult]:
    """What all modes begin with, for a mode of your own: every community comments, and the quorum is checked.

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
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled. A run returns a `CommentsResult`: the comments, and who is missing.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: A comment is given of a community that is not in the pool, a stage is nothing that could be asked,
            or `into` is no key that is free.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_comments

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        graph = build_comments("culture", models={"smollm2": mine}).compile()
        for comment in graph.invoke({"question": "Should wages be public?"})["comments"].values():
            print(comment["community"], comment["text"])
        ```
    """
    parts = Parts(
        pool,
        prompts,
        models,
        "comments",
        {"seed": seed},
        comments,
        communities=communities,
        after_comments=after_comments,
        evidence=evidence,
        into=into,
    )
    graph = parts.graph(CommentsState, CommentsQuestion, CommentsResult)
    parts.add_check(graph)
    for name in parts.communities:
        parts.add_commenting(graph, name)
        graph.add_edge("check", name)
        graph.add_edge(name, "attend")  # after all of them, which run in one superstep
    parts.add(graph, "attend", attend(communities=parts.communities, quorum=parts.pool.quorum))
    parts.add_end(graph, "attend")
    return graph
