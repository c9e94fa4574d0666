"""What an application brings to answer: a chat model, an agent, a chain or a function, and what each is asked with."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable, RunnableSequence, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase, coerce_to_runnable
from langchain_core.runnables.configurable import DynamicRunnable
from langgraph.graph.state import CompiledStateGraph

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
