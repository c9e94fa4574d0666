"""Distributional: check → in parallel, each community's branch → aggregate.

In its branch a community comments and its comment is scored (the paper's way); or it votes, or its record speaks, and
the branch is a single node; with several voices it does one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from langgraph.graph import END, START, StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.errors import InputError
from modular_pluralism.graphs.parts import Comments, Models, Parts, unless_failed
from modular_pluralism.graphs.state import (
    BranchOutput,
    DistributionalQuestion,
    DistributionalResult,
    DistributionalState,
)
from modular_pluralism.models.pool_models import check_records
from modular_pluralism.modes import ModeDescription, Takes, register_mode
from modular_pluralism.nodes.aggregate import HEARD_IN, Voicing, aggregate, own_aggregate
from modular_pluralism.nodes.own import CommentStage, PoolingFunction, pooling_part
from modular_pluralism.nodes.recall import recall
from modular_pluralism.nodes.request import check_scoring, voices_in
from modular_pluralism.nodes.score import score
from modular_pluralism.nodes.step import Step
from modular_pluralism.nodes.vote import vote
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import EvidenceTold, Pooling, Scoring, Voice, Voices


@checked
def build_distributional(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    voice: Voices = "comment",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    comments: Comments = None,
    communities: Sequence[str] | None = None,
    after_comments: Sequence[CommentStage] = (),
    evidence: EvidenceTold | None = None,
    pooling: Pooling | PoolingFunction | None = None,
    into: str | None = None,
) -> StateGraph[DistributionalState, None, DistributionalQuestion, DistributionalResult]:
    """The distributional graph (section 3 of the paper): every community is heard, its probability of every option is
    read, and the distributions are pooled with the communities' priors.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        voice: How a community is heard: by its comment, which the base LLM reads as in the paper ("comment"), by its
            own probability of every option ("vote"), by what its people have answered to like questions ("record"), or
            by several, as in "vote,record", united as the pool's [run] table says.
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        comments: Comments that are known already, by community: those communities are not asked.
        communities: Those of the pool that are asked (default: all).
        after_comments: Stages of your own for every comment, one after the other, each in its community's branch; see
            `CommentStage`.
        evidence: Which of its people's answers a community with a record is told before it comments: "all" that are
            near enough, those to "others" than the asked question, or "none" (default: as the pool's [run] table says).
        pooling: How the distributions become one: "linear", "log-linear", "median", or a function of your own, see
            `PoolingFunction` (default: as the pool's [run] table says).
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled. A run returns a `DistributionalResult`.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such scoring, voice or pooling, a comment is given of a community that is not in the
            pool or does not comment, a stage is nothing that could be asked, or `into` is no key that is free.

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
    voices = voices_in(voice)
    if "comment" not in voices and after_comments:
        raise InputError(
            f"There are stages after_comments, but with the voice {voice!r} the communities do not comment; leave them "
            'out, or choose "comment" among the voices.'
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
        evidence=evidence,
        into=into,
    )
    graph = parts.graph(DistributionalState, DistributionalQuestion, DistributionalResult)
    parts.add_check(graph)
    check_records(parts.pool, parts.communities, voices)
    for name in parts.communities:
        heard = _heard(parts, name, voices)
        if "comment" not in heard and _is_known_to_fail(parts, name, voice):
            parts.add_comment(graph, name)
        elif heard in (("vote",), ("record",)) and len(voices) == 1:
            parts.add(graph, name, _spoken(parts, name, scoring, heard[0]), role=heard[0], community=name)
        else:
            parts.add_branch(graph, name, _branch(parts, graph, name, scoring, heard))
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
        "voices": Voicing(run.voice_weights, run.voice_pooling, run.voice_temperatures),
    }
    for name in get_args(Pooling):
        if name == (run.pooling if wanted is None else wanted):
            return aggregate(**settings, pooling=name)
    return own_aggregate(pooling_part(cast(PoolingFunction, wanted)), **settings)


def _heard(parts: Parts, name: str, voices: Sequence[Voice]) -> tuple[Voice, ...]:
    """Those of the voices that a community has: without a record, the others."""
    return tuple(voice for voice in voices if voice != "record" or parts.pool.answers_file(name) is not None)


def _branch(
    parts: Parts, graph: StateGraph[Any, Any, Any, Any], name: str, scoring: Scoring, voices: Sequence[Voice]
) -> StateGraph[Any, Any, Any, Any]:
    """One community's own work: voice after voice, to the end where one fails."""
    branch = parts.branch(graph, BranchOutput)
    steps: list[tuple[str, Step]] = []
    last = START
    if "comment" in voices:
        last = parts.add_stages(branch, name)
        samples = parts.pool.run.score_samples
        steps.append(("score", score(name, parts.models, parts.prompts, scoring=scoring, samples=samples)))
    steps += [
        (voice, _spoken(parts, name, scoring, voice, into=HEARD_IN[voice])) for voice in voices if voice != "comment"
    ]
    for node, step in steps:
        parts.add(branch, node, step, community=name)
        if last == START:
            branch.add_edge(START, node)
        else:
            branch.add_conditional_edges(last, unless_failed(name, node), [node, END])
        last = node
    branch.add_edge(last, END)
    return branch


def _is_known_to_fail(parts: Parts, name: str, voice: Voices) -> bool:
    """Of a community that does not comment, all that can be known before the run is that it has failed."""
    known = parts.comments.get(name)
    if known is None:
        return False
    if isinstance(known, str) or known["error"] is None:
        raise InputError(
            f"A comment of {name} is given, but with the voice {voice!r} the communities do not comment; leave it out, "
            'or choose "comment" among the voices.'
        )
    return True


def _spoken(parts: Parts, name: str, scoring: Scoring, voice: Voice, into: str | None = None) -> Step:
    """The step of a voice that is no comment: alone, or `into` a place of its own beside others."""
    if voice == "record":
        return recall(name, parts.models, into=into or "distributions", alone=into is None)
    parts.models.check_votes(name)
    samples = parts.pool.run.score_samples
    return vote(
        parts.community(name),
        parts.models,
        parts.prompts,
        scoring=scoring,
        samples=samples,
        into=into or "distributions",
    )


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
