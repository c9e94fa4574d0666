"""What the paper compares the modes with (section 4, baselines): vanilla, prompting, and a mixture of experts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph

from modular_pluralism.checked import checked, no_such
from modular_pluralism.errors import InputError
from modular_pluralism.graphs.parts import ANYTHING, Models, Parts
from modular_pluralism.graphs.state import BaselineQuestion, BaselineResult, BaselineState
from modular_pluralism.modes import Takes, find_mode, modes
from modular_pluralism.nodes.route import route
from modular_pluralism.nodes.step import Step
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Mode, Scoring


@checked
def build_vanilla(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    prompts: PromptSet | None = None,
    models: Models = None,
    into: str | None = None,
) -> StateGraph[BaselineState, None, BaselineQuestion, BaselineResult]:
    """The base LLM alone, told nothing but the question and its options: check → answer.

    The attribute is not told, as in the paper.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled. A run returns a `BaselineResult`.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such scoring, or `into` is no key that is free.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_vanilla

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        graph = build_vanilla(models={"smollm2": mine}).compile()
        print(graph.invoke({"question": "Should wages be public?"})["answer"])
        ```
    """
    parts = Parts(pool, prompts, models, "vanilla", into=into)
    return _base_alone(parts, parts.answer("vanilla", scoring))


@checked
def build_prompting(
    pool: Pool | str | Path = "perspective",
    *,
    mode: Mode,
    scoring: Scoring = "rotate",
    prompts: PromptSet | None = None,
    models: Models = None,
    into: str | None = None,
) -> StateGraph[BaselineState, None, BaselineQuestion, BaselineResult]:
    """The base LLM alone, told to be pluralistic in the way of a mode: check → answer.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        mode: The mode; "steerable" needs questions with an attribute, and "distributional" takes one.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled. A run returns a `BaselineResult`.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such scoring, no prompt for this mode's way, or `into` is no key that is free.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_prompting

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        graph = build_prompting(mode="steerable", models={"smollm2": mine}).compile()
        print(graph.invoke({"question": "Should wages be public?", "attribute": "privacy"})["answer"])
        ```
    """
    needed = find_mode(mode).takes.attribute == "required"
    takes = Takes("required", "optional") if needed else ANYTHING
    parts = Parts(pool, prompts, models, f"prompting_{mode}", takes=takes, into=into)
    if f"prompting_{mode}" not in parts.prompts:
        raise InputError(no_such("mode that a prompt describes to the base LLM", mode, prompted_modes()))
    of_group = "prompting_group" if mode == "distributional" else None
    return _base_alone(parts, parts.answer(f"prompting_{mode}", scoring, of_group))


@checked
def build_moe(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    prompts: PromptSet | None = None,
    models: Models = None,
    into: str | None = None,
) -> StateGraph[BaselineState, None, BaselineQuestion, BaselineResult]:
    """A mixture of experts: the base LLM picks one community by its description, only that one comments, and the base
    LLM answers with its comment: check → route → one community → answer.

    A community that fails leaves nothing to answer with: a run of the graph then raises QuorumError.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled. A run returns a `BaselineResult`.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such scoring, or `into` is no key that is free.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_moe

        mine = FakeListChatModel(responses=["1"])  # any LangChain chat model; this one picks the first community
        graph = build_moe(models={"smollm2": mine}).compile()
        state = graph.invoke({"question": "Should wages be public?"})
        print(state["selected"]["community"], state["answer"])
        ```
    """
    parts = Parts(pool, prompts, models, "moe", into=into)
    graph = parts.graph(BaselineState, BaselineQuestion, BaselineResult)
    parts.add_check(graph)
    parts.add(graph, "route", route(parts.models, parts.prompts, descriptions=parts.descriptions))
    for name in parts.communities:
        parts.add_comment(graph, name)
        graph.add_edge(name, "answer")
    parts.add(graph, "answer", parts.answer("moe", scoring))
    graph.add_edge("check", "route")
    graph.add_conditional_edges("route", lambda state: state["selected"]["community"], parts.communities)
    parts.add_end(graph, "answer")
    return graph


def _base_alone(parts: Parts, step: Step) -> StateGraph[BaselineState, None, BaselineQuestion, BaselineResult]:
    graph = parts.graph(BaselineState, BaselineQuestion, BaselineResult)
    parts.add_check(graph)
    parts.add(graph, "answer", step)
    graph.add_edge("check", "answer")
    parts.add_end(graph, "answer")
    return graph


def prompted_modes() -> list[str]:
    """The modes in whose way the base LLM can be told to be pluralistic, since there is a prompt for that."""
    built_in = PromptSet.load()
    return [name for name in modes() if f"prompting_{name}" in built_in]


BASELINES: Mapping[str, Callable[..., StateGraph[Any, Any, Any, Any]]] = {
    "vanilla": build_vanilla,
    "prompting": build_prompting,
    "moe": build_moe,
}
"""The builders, by name. Beside what all take, they take `baseline_settings`."""


def baseline_settings(name: str, mode: Mode) -> dict[str, Any]:
    """What this baseline's builder takes of the mode that it is compared with: prompting is pluralistic in its way."""
    return {"mode": mode} if name == "prompting" else {}
