"""Steerable: check → every community comments in parallel → select → respond."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.graphs.parts import AnswerSchema, Comments, Models, Parts, checked_schema, no_tools
from modular_pluralism.graphs.state import SteerableQuestion, SteerableResult, SteerableState
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.modes import ModeDescription, Takes, register_mode
from modular_pluralism.nodes.answer import own_answer
from modular_pluralism.nodes.own import CommentStage, Respond, Selector
from modular_pluralism.nodes.select import own_select, select
from modular_pluralism.nodes.step import Step
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import EvidenceTold, Scoring


@checked
def build_steerable(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    comments: Comments = None,
    communities: Sequence[str] | None = None,
    after_comments: Sequence[CommentStage] = (),
    evidence: EvidenceTold | None = None,
    selector: Selector | None = None,
    respond: Respond | None = None,
    answer_schema: AnswerSchema = None,
    tools: Sequence[Any] | None = None,
    into: str | None = None,
) -> StateGraph[SteerableState, None, SteerableQuestion, SteerableResult]:
    """The steerable graph (section 3 of the paper): every community comments, the comment that best reflects the
    question's attribute is selected, and the base LLM answers with it.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        comments: Comments that are known already, by community: those communities are not asked.
        communities: Those of the pool that are asked (default: all).
        after_comments: Stages of your own for every comment, one after the other, each in its community's branch; see
            `CommentStage`.
        evidence: Which of its people's answers a community with a record is told before it comments: "all" that are
            near enough, those to "others" than the asked question, or "none" (default: as the pool's [run] table says).
        selector: Your own selector, in the place of the base LLM; see `Selector`.
        respond: Your own answer in the light of the selected comment, in the place of the base LLM's; see `Respond`.
        answer_schema: A class of pydantic, a TypedDict or a JSON schema that an answer to a question without options
            follows; its value, in plain form, is then in `structured`.
        tools: What the base LLM may call where it writes the answer: functions, classes of pydantic, LangChain's tools
            or OpenAI's tables, for questions that have no `tools` of their own. Nobody else is told of them.
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled. A run returns a `SteerableResult`.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such scoring, a comment is given of a community that is not in the pool, a stage is
            nothing that could be asked, `answer_schema` or a tool cannot be used, both are given, or `into` is no key
            that is free.

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
    parts = Parts(
        pool,
        prompts,
        models,
        "steerable",
        {"seed": seed},
        comments,
        STEERABLE.takes,
        communities=communities,
        after_comments=after_comments,
        evidence=evidence,
        into=into,
        tools=tools,
        no_tools=no_tools(respond, "respond", answer_schema),
    )
    graph = parts.graph(SteerableState, SteerableQuestion, SteerableResult)
    parts.add_check(graph)
    for name in parts.communities:
        parts.add_commenting(graph, name)
        graph.add_edge("check", name)
        graph.add_edge(name, "select")  # after all of them, which run in one superstep
    parts.add(graph, "select", _selecting(parts, selector))
    answering = parts.answer("respond", scoring, schema=checked_schema(answer_schema, respond, "respond"))
    if respond is not None:
        answering = own_answer(OwnPart.of("respond", respond), communities=parts.communities)
    parts.add(graph, "respond", answering)
    graph.add_edge("select", "respond")
    parts.add_end(graph, "respond")
    return graph


def _selecting(parts: Parts, own: Selector | None) -> Step:
    who: Any = {"communities": parts.communities, "quorum": parts.pool.quorum}
    if own is not None:
        return own_select(OwnPart.of("selector", own), **who)
    return select(parts.models, parts.prompts, **who)


STEERABLE = register_mode(
    ModeDescription(
        name="steerable",
        work="every community comments in parallel → a selector picks the comment that best reflects an attribute → "
        "the base LLM answers with it",
        outcome="an answer or a choice, and the selected community",
        tool="Answer a question in the light of a given value, demographic or culture.",
        build=build_steerable,
        state=SteerableState,
        takes=Takes(attribute="required", options="optional", tools=True),
        writer="respond",
        structured=True,
    )
)
