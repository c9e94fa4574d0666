"""What can be asked: a model of the pool, or a part that the application brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.runnables import Runnable


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

    Unlike a model it is asked with a mapping, and may answer with whatever its place in the graph calls for.
    """

    place: str
    runnable: Runnable[Any, Any]
