"""Running a graph from the command line: what happens in it is told to a view as it happens."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from modular_pluralism.errors import PluralismError, StoreError, UnkeptError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.models.redaction import KeylessText
from modular_pluralism.pool import Pool
from modular_pluralism.types import Voices

if TYPE_CHECKING:
    from modular_pluralism.cli.terminal_view import TerminalView
    from modular_pluralism.runs.plain_saver import PlainSaver


async def run_graph(
    graph: StateGraph[Any, Any, Any, Any],
    question: dict[str, Any] | None,
    view: TerminalView,
    result: str,
    *,
    saver: PlainSaver | None = None,
    thread: str | None = None,
) -> dict[str, Any]:
    """Run a graph and return its final state, with the communities in the pool's order left to the caller; `result` is
    the part of it that a run ends with.

    With a `saver`, the run's checkpoints are kept there as `thread`, and no comment is shown before it is;
    `question` None goes on with that thread.

    Raises:
        UnkeptError: the result is there, but could not be kept.
        PluralismError: the run failed.
    """
    final: dict[str, Any] = {}
    said = defaultdict[object, KeylessText](KeylessText)
    answered: dict[str, Any] = {}  # known before the last checkpoint is written
    kept: dict[str, Any] = {"config": {"configurable": {"thread_id": thread}}, "durability": "sync"} if saver else {}
    branches = {name for name, node in graph.nodes.items() if isinstance(node.runnable, CompiledStateGraph)}
    # LangGraph types the parts of a stream by its default mode, which is not this one.
    stream: Any = graph.compile(checkpointer=saver).astream(
        question, stream_mode=["messages", "updates", "values"], subgraphs=True, **kept
    )
    try:
        async for namespace, kind, data in stream:
            if kind == "messages":
                message, metadata = data
                view.speaking(metadata["langgraph_node"], said[message.id].passed(str(message.text)))
            elif kind == "updates":
                for node, update in data.items():
                    if not namespace and (update or {}).get(result):
                        answered = {**final, **update}
                    if not namespace and node in branches:
                        continue  # what a branch has said was told inside it
                    for comment in ((update or {}).get("comments") or {}).values():
                        if saver is not None and thread is not None:
                            await saver.settled(thread)
                        view.said(comment)
            elif kind == "values" and not namespace:
                final = data
    except StoreError as error:
        if answered:
            raise UnkeptError(str(error), answered) from error
        raise
    if not final:
        raise PluralismError("The run ended without a result.")
    return final


def open_models(pool: Pool, voice: Voices = "comment") -> PoolModels:
    """The pool's models, checked before anything is asked: a wrong path or an unset key is told at once."""
    models = PoolModels(pool)
    models.check(voice)
    return models
