"""Distributional: check → in parallel, each community's branch → aggregate.

In its branch a community comments and its comment is scored (the paper's way); with its own voice it votes instead, and
the branch is a single node; with both it comments, is scored, and votes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from langgraph.graph import END, StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.errors import InputError
from modular_pluralism.graphs.parts import Comments, Models, Parts, unless_failed
from modular_pluralism.graphs.state import (
    BranchOutput,
    DistributionalQuestion,
    DistributionalResult,
    DistributionalState,
)
from modular_pluralism.modes import ModeDescription, Takes, register_mode
from modular_pluralism.nodes.aggregate import aggregate, own_aggregate
from modular_pluralism.nodes.own import CommentStage, PoolingFunction, pooling_part
from modular_pluralism.nodes.request import check_scoring, check_voice
from modular_pluralism.nodes.score import score
from modular_pluralism.nodes.step import Step
from modular_pluralism.nodes.vote import vote
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Pooling, Scoring, Voice


@checked
def build_distributional(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    voice: Voice = "comment",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    comments: Comments = None,
    communities: Sequence[str] | None = None,
    after_comments: Sequence[CommentStage] = (),
    pooling: Pooling | PoolingFunction | None = None,
    into: str | None = None,
) -> StateGraph[DistributionalState, None, DistributionalQuestion, DistributionalResult]:
    """The distributional graph (section 3 of the paper): every community is heard, its probability of every option is
    read, and the distributions are pooled with the communities' priors.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        voice: How a community is heard: by its comment, which the base LLM reads as in the paper ("comment"), by its
            own probability of every option ("vote"), or by both, united as the pool's [run] table says ("both").
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        comments: Comments that are known already, by community: those communities are not asked.
        communities: Those of the pool that are asked (default: all).
        after_comments: Stages of your own for every comment, one after the other, each in its community's branch; see
            `CommentStage`.
        pooling: How the distributions become one: "linear", "log-linear", "median", or a function of your own, see
            `PoolingFunction` (default: as the pool's [run] table says).
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled. A run returns a `DistributionalResult`.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such scoring, voice or pooling, a comment is given of a community that is not in the
            pool or only votes, a stage is nothing that could be asked, or `into` is no key that is free.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_distributional

        mine = FakeListChatModel(responses=["A"])  # any LangChain chat model; without log-probabilities, replies count
        graph = build_distributional("culture", scoring="label", models={"smollm2": mine}).compile()
        state = graph.invoke({"question": "Is it right to lie to protect a friend?", "options": ["Yes", "No"]})
        print(state["distribution"], state["disagreement"])
        ```
    """
    check_scoring(scoring)
    check_voice(voice)
    if voice == "vote" and after_comments:
        raise InputError(
            'There are stages after_comments, but with the voice "vote" the communities do not comment; leave them '
            'out, or choose "comment" or "both".'
        )
    parts = Parts(
        pool,
        prompts,
        models,
        "distributional",
        {"seed": seed},
        comments,
        DISTRIBUTIONAL.takes,
        communities=communities,
        after_comments=after_comments,
        into=into,
    )
    graph = parts.graph(DistributionalState, DistributionalQuestion, DistributionalResult)
    parts.add_check(graph)
    for name in parts.communities:
        if voice == "vote":
            _add_voter(parts, graph, name, scoring)
        else:
            parts.add_branch(graph, name, _branch(parts, graph, name, scoring, voice))
        graph.add_edge("check", name)
        graph.add_edge(name, "aggregate")  # after all of them, which run in one superstep
    parts.add(graph, "aggregate", _pooling(parts, pooling))
    parts.add_end(graph, "aggregate")
    return graph


def _pooling(parts: Parts, wanted: Pooling | PoolingFunction | None) -> Step:
    run = parts.pool.run
    settings: Any = {
        "priors": parts.pool.priors_of,
        "quorum": parts.pool.quorum,
        "share": run.vote_share,
        "vote_pooling": run.vote_pooling,
    }
    for name in get_args(Pooling):
        if name == (run.pooling if wanted is None else wanted):
            return aggregate(**settings, pooling=name)
    return own_aggregate(pooling_part(cast(PoolingFunction, wanted)), **settings)


def _branch(
    parts: Parts, graph: StateGraph[Any, Any, Any, Any], name: str, scoring: Scoring, voice: Voice
) -> StateGraph[Any, Any, Any, Any]:
    """One community's own work."""
    branch = parts.branch(graph, BranchOutput)
    last = parts.add_stages(branch, name)
    samples = parts.pool.run.score_samples
    scoring_step = score(name, parts.models, parts.prompts, scoring=scoring, samples=samples)
    parts.add(branch, "score", scoring_step, community=name)
    branch.add_conditional_edges(last, unless_failed(name, "score"), ["score", END])
    if voice == "comment":
        branch.add_edge("score", END)
        return branch
    parts.add(branch, "vote", _vote(parts, name, scoring, "votes"), community=name)
    branch.add_conditional_edges("score", unless_failed(name, "vote"), ["vote", END])
    branch.add_edge("vote", END)
    return branch


def _add_voter(parts: Parts, graph: StateGraph[Any, Any, Any, Any], name: str, scoring: Scoring) -> None:
    """A community that votes and does nothing else. What is known of it can only be that it has failed."""
    known = parts.comments.get(name)
    if known is None:
        parts.add(graph, name, _vote(parts, name, scoring, "distributions"), role="vote", community=name)
    elif isinstance(known, str) or known["error"] is None:
        raise InputError(
            f'A comment of {name} is given, but with the voice "vote" the communities do not comment; leave it out, or '
            'choose "comment" or "both".'
        )
    else:
        parts.add_comment(graph, name)


def _vote(parts: Parts, name: str, scoring: Scoring, into: str) -> Step:
    parts.models.check_votes(name)
    samples = parts.pool.run.score_samples
    return vote(parts.community(name), parts.models, parts.prompts, scoring=scoring, samples=samples, into=into)


DISTRIBUTIONAL = register_mode(
    ModeDescription(
        name="distributional",
        work="every community comments in parallel → for each comment, the base LLM's probability of every option is "
        "read → the distributions are pooled with the communities' priors",
        outcome="a distribution over the options",
        tool="Tell how people's answers to a question are distributed over given options.",
        build=build_distributional,
        state=DistributionalState,
        takes=Takes(attribute="optional", options="required", voice=True),
        result="distribution",
    )
)
