"""All modes in one graph, which routes by the mode that the question names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_type_hints

from langgraph.graph import StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.graphs.parts import Models, Parts
from modular_pluralism.graphs.state import PluralismQuestion, PluralismResult, PluralismState, typed
from modular_pluralism.modes import Takes, find_mode, modes
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import EvidenceTold, Mode, Scoring, Voices

T = TypeVar("T")


@checked
def build_pluralism(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    voice: Voices = "comment",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    mode: Mode | None = None,
    communities: Sequence[str] | None = None,
    evidence: EvidenceTold | None = None,
    into: str | None = None,
) -> StateGraph[PluralismState, None, PluralismQuestion, PluralismResult]:
    """All modes in one graph, of which the question picks one by its `mode`.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        voice: How a community is heard in distributional mode: by its "comment", its "vote", its "record", or by
            several, as in "vote,record".
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        mode: For questions that name none.
        communities: Those of the pool that are asked (default: all).
        evidence: Which of its people's answers a community with a record is told before it comments: "all" that are
            near enough, those to "others" than the asked question, or "none" (default: as the pool's [run] table says).
        into: A key that takes the whole result, so that graphs stand side by side in one parent.

    Returns:
        The graph, not compiled. A run returns a `PluralismResult`, with the keys of modes that were added.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such scoring, voice or mode, or `into` is no key that is free.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import build_pluralism

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        graph = build_pluralism("culture", models={"smollm2": mine}).compile()
        state = graph.invoke({"question": "Should wages be public?", "mode": "overton"})
        print(state["answer"])
        ```
    """
    # What the question's mode does not take, that mode's own check refuses.
    takes = Takes("optional", "optional", tools=True, choose=True)
    parts = Parts(
        pool,
        prompts,
        models,
        defaults={"mode": mode},
        takes=takes,
        communities=communities,
        into=into,
        evidence=evidence,
    )
    if mode is not None:
        find_mode(mode)
    graph = parts.graph(_state(), PluralismQuestion, _result())
    parts.add_check(graph, any_mode=True)
    for name, described in modes().items():
        settings = described.settings(scoring, voice if described.takes.voice else "comment")
        inner = described.build(parts.pool, prompts=parts.prompts, models=parts.models, seed=seed, **settings)
        asked = _question(inner.input_schema)
        graph.add_node(name, inner.compile(), metadata=parts.marks("mode"), input_schema=asked)
    parts.add_end(graph, *modes())
    graph.add_conditional_edges("check", lambda state: state.get("mode") or mode, list(modes()))
    return graph


def _state() -> type[PluralismState]:
    """The state, with the keys of modes that were added."""
    return _with_keys(
        PluralismState, {key: hint for mode in modes().values() for key, hint in _hints(mode.state).items()}
    )


def _result() -> type[PluralismResult]:
    """The result, with what added modes write."""
    asked = _hints(PluralismQuestion)
    return _with_keys(PluralismResult, {key: hint for key, hint in _hints(_state()).items() if key not in asked})


def _with_keys(known: type[T], keys: dict[str, Any]) -> type[T]:
    hints = _hints(known)
    made: type[T] = typed(known.__name__, {**keys, **hints}) if keys.keys() - hints.keys() else known
    return made


def _hints(of: type) -> dict[str, Any]:
    return get_type_hints(of, include_extras=True)


def _question(asked: type) -> type:
    """What a mode's graph is asked, without what it refuses: a parent's state may have that for something else."""
    kept = {key: hint for key, hint in _hints(asked).items() if hint is not NoneType}
    return typed(f"{asked.__name__}Part", kept)
