"""All modes in one graph, which routes by the mode that the question names."""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import Any, get_type_hints

from langgraph.graph import END, StateGraph
from typing_extensions import TypedDict

from modular_pluralism.checked import checked
from modular_pluralism.graphs.nesting import NestingGraph
from modular_pluralism.graphs.parts import Models, Parts
from modular_pluralism.graphs.state import PluralismQuestion, PluralismState
from modular_pluralism.modes import find_mode, modes
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Mode, Scoring, Voice


@checked
def build_pluralism(
    pool: Pool | str | Path = "perspective",
    *,
    scoring: Scoring = "rotate",
    voice: Voice = "comment",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    mode: Mode | None = None,
) -> StateGraph[PluralismState, None, PluralismQuestion, PluralismState]:
    """All modes in one graph, of which the question picks one by its `mode`.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        voice: How a community is heard in distributional mode: by its "comment", its "vote", or "both".
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        mode: For questions that name none.

    Returns:
        The graph, not compiled.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such scoring, voice or mode.

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
    parts = Parts(pool, prompts, models, defaults={"mode": mode})
    if mode is not None:
        find_mode(mode)
    graph: NestingGraph[PluralismState, None, PluralismQuestion, PluralismState]
    graph = NestingGraph(_state(), input_schema=PluralismQuestion)
    parts.add_check(graph, any_mode=True)
    for name, described in modes().items():
        settings = described.settings(scoring, voice if described.takes.voice else "comment")
        inner = described.build(parts.pool, prompts=parts.prompts, models=parts.models, seed=seed, **settings)
        asked = _question(inner.input_schema)
        graph.add_node(name, inner.compile(), metadata=parts.marks("mode"), input_schema=asked)
        graph.add_edge(name, END)
    graph.add_conditional_edges("check", lambda state: state.get("mode") or mode, list(modes()))
    return graph


def _state() -> type:
    """The state, with the keys of modes that were added."""
    known = get_type_hints(PluralismState, include_extras=True)
    added = {
        key: hint
        for mode in modes().values()
        for key, hint in get_type_hints(mode.state, include_extras=True).items()
        if key not in known
    }
    return _typed(PluralismState.__name__, known | added) if added else PluralismState


def _question(asked: type) -> type:
    """What a mode's graph is asked, without what it refuses: on a thread, that may be left from a question of another
    mode."""
    hints = get_type_hints(asked, include_extras=True)
    return _typed(f"{asked.__name__}Part", {key: hint for key, hint in hints.items() if hint is not NoneType})


def _typed(name: str, keys: dict[str, Any]) -> type:
    made: type = TypedDict(name, keys, total=False)  # type: ignore[misc]
    return made
