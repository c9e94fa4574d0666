"""What can be asked: a model of the pool, or a part that the application brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.runnables import Runnable
from langchain_core.runnables.base import coerce_to_runnable

from modular_pluralism.errors import InputError


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
            return cls(place, coerce_to_runnable(given), given)
        except TypeError:
            raise InputError(
                f"{place} is {given!r}; give a function, a chain, a graph, or whatever LangChain makes a runnable of."
            ) from None
