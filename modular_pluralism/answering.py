"""What an application brings to answer: a chat model, an agent, a chain or a function, and what each is asked with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from langchain_core.language_models import BaseChatModel, BaseLanguageModel
from langchain_core.runnables import Runnable, RunnableSequence, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase, coerce_to_runnable
from langchain_core.runnables.configurable import DynamicRunnable
from langgraph.graph.state import CompiledStateGraph

from modular_pluralism.errors import InputError

Given: TypeAlias = Literal["messages", "state", "question"]
"""What it is asked with: messages as a chat model is, a state with `messages` as an agent is, or a mapping that has the
question and all that belongs to it."""


def as_answering(value: Any) -> Runnable[Any, Any] | None:
    """The value as LangChain runs it; None where it cannot answer."""
    if isinstance(value, Runnable):
        return value
    return coerce_to_runnable(value) if callable(value) and not isinstance(value, type) else None


def given_to(answering: Runnable[Any, Any]) -> Given:
    """What it is asked with. What is wrapped (with fall-backs, settings or retries) is asked as what it wraps."""
    if isinstance(answering, BaseLanguageModel):
        return "messages"
    if isinstance(answering, CompiledStateGraph):
        graph = answering.builder
        return "state" if "messages" in graph.schemas[graph.input_schema] else "question"
    if isinstance(answering, RunnableBindingBase):
        return given_to(answering.bound)
    if isinstance(answering, RunnableWithFallbacks):
        return given_to(answering.runnable)
    if isinstance(answering, DynamicRunnable):
        return given_to(answering.default)
    if isinstance(answering, RunnableSequence) and given_to(answering.first) == "messages":
        return "messages"
    return "question"


def within(answering: Runnable[Any, Any], change: Callable[[Runnable[Any, Any]], Runnable[Any, Any]]) -> Any:
    """The same, with `change` made of what settings, retries and fall-backs are wrapped around."""
    if isinstance(answering, RunnableBindingBase):
        return answering.model_copy(update={"bound": within(answering.bound, change)})
    if isinstance(answering, RunnableWithFallbacks):
        others = [within(each, change) for each in answering.fallbacks]
        return answering.model_copy(update={"runnable": within(answering.runnable, change), "fallbacks": others})
    return change(answering)


def with_tools(answering: Runnable[Any, Any], tools: Sequence[Any], choice: Any, place: str) -> Runnable[Any, Any]:
    """A chat model with tools that it may call, by LangChain's `bind_tools`; `tools` and `choice` are OpenAI's.

    Raises:
        InputError: it takes none.
    """
    if isinstance(choice, dict):
        choice = choice["function"]["name"]
    told = {} if choice is None else {"tool_choice": "any" if choice == "required" else choice}  # in LangChain's words

    def bound(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
        bind = getattr(model, "bind_tools", None)
        if bind is None or getattr(type(model), "bind_tools", None) is BaseChatModel.bind_tools:
            raise InputError(f"{place} takes no tools; leave them out, or give a chat model that has bind_tools.")
        made: Runnable[Any, Any] = bind(tools, **told)
        return made

    return within(answering, bound)  # type: ignore[no-any-return]
