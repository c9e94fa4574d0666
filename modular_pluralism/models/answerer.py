"""What can be asked: a model of the pool, or a part that the application brings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import coerce_to_runnable

from modular_pluralism.answering import Given, with_tools
from modular_pluralism.checked import shown
from modular_pluralism.errors import InputError
from modular_pluralism.models.redaction import keyless_message


class Answerer(Protocol):
    """Something that nodes ask."""

    @property
    def place(self) -> str:
        """What messages call it."""

    @property
    def runnable(self) -> Runnable[Any, Any]:
        """What is asked."""


@dataclass(frozen=True)
class OwnPart:
    """A part of the application's own: a chain, a graph, an agent, or a function that LangChain makes a runnable of.

    Unlike a model it is asked with a mapping, and may answer with whatever its place in the graph calls for. `source`
    is what the application gave, by which a cache tells it from others (None: the runnable itself).
    """

    place: str
    runnable: Runnable[Any, Any]
    source: Any = None

    @classmethod
    def of(cls, place: str, given: Any) -> OwnPart:
        """The part that an application gives for this place.

        Raises:
            InputError: LangChain makes no runnable of it.
        """
        try:
            return cls(place, coerce_to_runnable(dict(given) if isinstance(given, Mapping) else given), given)
        except TypeError:
            raise InputError(
                f"{place} is {shown(given)}; give a function, a chain, a graph, or whatever else "
                "LangChain makes a runnable of."
            ) from None


class AsChat(Runnable[Any, AIMessage]):
    """What an application has brought, asked as a chat model is: with messages, and answering with one.

    `given` says how it is asked itself. An agent gets no settings: how long its models write is its own affair.
    """

    def __init__(self, answering: Runnable[Any, Any], given: Given, place: str) -> None:
        self._answering = answering
        self._given: Given = given
        self._place = place

    def invoke(self, input: Any, config: RunnableConfig | None = None, **settings: Any) -> AIMessage:
        """See Runnable."""
        if self._given == "state":
            return self._said(self._answering.invoke({"messages": list(input)}, config))
        return self._said(self._answering.invoke(input, config, **settings))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **settings: Any) -> AIMessage:
        """See Runnable."""
        if self._given == "state":
            return self._said(await self._answering.ainvoke({"messages": list(input)}, config))
        return self._said(await self._answering.ainvoke(input, config, **settings))

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None) -> AsChat:
        """The same with tools. Raises InputError where it takes none."""
        return AsChat(with_tools(self._answering, tools, tool_choice, self._place), self._given, self._place)

    def leaves_out(self, settings: Iterable[str]) -> list[str]:
        """Those of the settings of a call that it cannot be given."""
        return list(settings) if self._given == "state" else []

    def _said(self, value: object) -> AIMessage:
        message = as_message(value, self._place)
        return finished(message if isinstance(message, AIMessage) else AIMessage(message.content))


_FINISHED = {
    **dict.fromkeys(("length", "max_tokens", "model_length", "MAX_TOKENS", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(("tool_calls", "tool_use"), "tool_calls"),
    **dict.fromkeys(("content_filter", "content_filtered", "guardrail_intervened", "refusal"), "content_filter"),
    **dict.fromkeys(("SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION"), "content_filter"),
}
"""What providers call it where a text has come to the limit of its tokens, a tool is called, or a text is held back."""


def finished(message: AIMessage) -> AIMessage:
    """The message with a `finish_reason` as the rest of the package reads it, whatever its provider calls that.

    Where there is none, that is "stop". Messages of OpenAI-compatible endpoints and of the embedded engine stay as they
    are: they have one, or have broken off.
    """
    info = message.response_metadata
    if info.get("model_provider") in ("openai", "llama.cpp"):
        return message
    reason = next(
        (info[key] for key in ("finish_reason", "stop_reason", "stopReason", "done_reason") if info.get(key)), "stop"
    )
    told = {**info, "finish_reason": _FINISHED.get(str(reason), "stop")}
    return message.model_copy(update={"response_metadata": told})


def as_message(value: object, place: str) -> BaseMessage:
    """What a part of the application's own has said, without keys: a text, a message, or the last of a state's
    `messages`.

    Raises:
        TypeError: it is none of these, which is a mistake in the application.
    """
    if isinstance(value, Mapping) and isinstance(value.get("messages"), Sequence) and value["messages"]:
        value = value["messages"][-1]
    if isinstance(value, str):
        value = AIMessage(value)
    if isinstance(value, BaseMessage):
        return keyless_message(value)
    raise TypeError(
        f"{place} returned {type(value).__name__}; return a text, a message, or a state whose `messages` end with it."
    )
