"""A mode of an application's own, in one file: every community comments, and what they said stands side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langgraph.graph import END, StateGraph

from modular_pluralism.graphs.parts import Comments, Models, Parts
from modular_pluralism.graphs.state import Commented, Question
from modular_pluralism.modes import ModeDescription, Takes, register_mode
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet


class ChorusQuestion(Question, total=False):
    """What the mode is asked. It takes no options: they are here to be refused."""

    attribute: str | None
    options: None


class ChorusState(ChorusQuestion, Commented, total=False):
    """`voices` is how many were heard: a key that no other mode has."""

    answer: str | None
    voices: int | None


@step_maker()
def join(*, communities: Sequence[str], quorum: int) -> Body:
    """Step that writes `answer`, `voices` and `missing`."""

    def step(state: State) -> Update:
        present = attendance(state, communities, quorum)
        answer = " / ".join(comment["text"] for comment in present.comments)
        return {"answer": answer, "voices": len(present.names), "missing": present.missing}

    return step


def build_chorus(
    pool: Pool | str | Path = "perspective",
    *,
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    comments: Comments = None,
) -> StateGraph[Any, Any, Any, Any]:
    """The graph: check → every community comments in parallel → join."""
    parts = Parts(pool, prompts, models, "chorus", {"seed": seed}, comments, CHORUS.takes)
    graph = StateGraph(ChorusState, input_schema=ChorusQuestion)
    parts.add_check(graph)
    for name in parts.communities:
        parts.add_comment(graph, name)
        graph.add_edge("check", name)
        graph.add_edge(name, "join")
    parts.add(graph, "join", join(communities=parts.communities, quorum=parts.pool.quorum))
    graph.add_edge("join", END)
    return graph


CHORUS = ModeDescription(
    name="chorus",
    work="every community comments in parallel → their comments are put side by side",
    outcome="all comments in one text",
    tool="Hear everybody on a question, with an attribute.",
    build=build_chorus,
    state=ChorusState,
    takes=Takes(attribute="optional"),
)


def register() -> None:
    """What the package's entry point names."""
    register_mode(CHORUS)
