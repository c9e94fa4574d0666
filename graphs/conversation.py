"""A conversation with a mode: listen → the mode's graph → reply."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Required, get_type_hints

from langchain_core.messages import AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from modular_pluralism.checked import checked
from modular_pluralism.graphs.nesting import NestingGraph
from modular_pluralism.graphs.parts import Models, Parts
from modular_pluralism.modes import find_mode
from modular_pluralism.nodes.converse import listen, reply
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Mode, Scoring, Voices


class Messages(TypedDict, total=False):
    """What a conversation is asked with, and comes out of it: LangGraph's own `messages`."""

    messages: Required[Annotated[list[AnyMessage], add_messages]]


@checked
def build_conversation(
    pool: Pool | str | Path = "perspective",
    *,
    mode: Mode = "overton",
    scoring: Scoring = "rotate",
    voice: Voices = "comment",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    **more: Any,
) -> StateGraph[Any, None, Any, Any]:
    """A conversation: the last of the `messages` is the question, the models are told those before it, with their
    roles, and the answer is added to them. Where it calls tools (`tools` of the mode's builder), add what they return,
    and the base LLM goes on with that.

    With a checkpointer, a thread goes on where it was: give it the next message alone. As a node of a graph that has
    `messages`, it shares them. What a mode needs beside a question (`attribute`, `options`) stands beside the messages,
    and so do its results.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        mode: How the communities collaborate.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        voice: How a community is heard in distributional mode: by its "comment", its "vote", its "record", or by
            several, as in "vote,record".
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: For questions that have none (default 0).
        more: What the mode's own builder takes beside these; `into` aside, since a reply is made of the results.

    Returns:
        The graph, not compiled.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such mode, scoring or voice, or the mode's builder takes no such argument.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel
        from langgraph.checkpoint.memory import InMemorySaver

        from modular_pluralism import build_conversation

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        talk = build_conversation("culture", models={"smollm2": mine}).compile(checkpointer=InMemorySaver())
        thread = {"configurable": {"thread_id": "1"}}
        talk.invoke({"messages": [("user", "Should wages be public?")]}, thread)
        state = talk.invoke({"messages": [("user", "And those of civil servants?")]}, thread)
        print([message.type for message in state["messages"]])
        ```
    """
    described = find_mode(mode)
    described.check_settings(more, beside=signature(build_conversation).parameters, what="build_conversation")
    parts = Parts(pool, prompts, models, mode)
    settings: dict[str, Any] = {"prompts": parts.prompts, "models": parts.models, "seed": seed, **more}
    inner = described.graph(parts.pool, scoring=scoring, voice=voice, **settings)
    state = get_type_hints(inner.state_schema, include_extras=True)
    results = {key: hint for key, hint in state.items() if key not in get_type_hints(inner.input_schema)}
    beside = {
        key: hint
        for key, hint in get_type_hints(inner.input_schema, include_extras=True).items()
        if key not in ("question", "history", "tool_messages") and hint is not type(None)
    }
    graph: StateGraph[Any, None, Any, Any] = NestingGraph(
        _with_messages("State", state),
        input_schema=_with_messages("Input", beside),
        output_schema=_with_messages("Output", results),
    )
    parts.add(graph, "listen", listen(results=list(results)))
    graph.add_node(mode, inner.compile(), metadata=parts.marks("mode"))
    parts.add(graph, "reply", reply(result=described.result))
    graph.add_edge(START, "listen")
    graph.add_edge("listen", mode)
    graph.add_edge(mode, "reply")
    graph.add_edge("reply", END)
    return graph


def _with_messages(name: str, keys: dict[str, Any]) -> type:
    made: type = TypedDict(  # type: ignore[misc]
        f"Conversation{name}", {**keys, **get_type_hints(Messages, include_extras=True)}, total=False
    )
    return made
