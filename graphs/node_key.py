"""What a node's output depends on, as a short text: two equal keys mean that running the node would be a repetition."""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from threading import Lock
from typing import Any
from uuid import uuid4

from langchain_core.messages import BaseMessage
from langgraph.graph import StateGraph

from modular_pluralism.models.answerer import Answerer, OwnPart
from modular_pluralism.models.pool_models import HasIdentity
from modular_pluralism.nodes.ask import ModelCall
from modular_pluralism.nodes.noted import Noted, Notes
from modular_pluralism.nodes.step import State, Step, Update

_naming = Lock()
_known: dict[int, tuple[weakref.ref[Any], str]] = {}


class NodeKey:
    """Makes the key of the node `name` of a graph from the state that the node is given.

    A node depends on what its step is made with, on what it has read of the state, on its prompts, and on what it asks
    first, and of which model: `Step.begin` finds all of that out and asks no model, and a step can use nothing else
    later on. A node that asks no model depends on what it makes of the state, which costs nothing to find
    out. The edges after a node are cached with it, so where they lead is in the key, too. `place` is where it stands.
    """

    def __init__(self, step: Step, place: Sequence[str], graph: StateGraph[Any, Any, Any, Any], name: str) -> None:
        self.step = step
        self._place = list(place)
        self._graph = graph
        self._name = name

    def __call__(self, state: State) -> str:
        """The key; never an equal one where the node cannot begin, so that it says itself what is wrong."""
        try:
            return _digest([self._place, *self._depends(state)])
        except Exception:  # whatever it is: the node raises it again, where its errors belong
            return _digest(["never", uuid4().hex])

    def asks(self, state: State) -> ModelCall[Any] | Update:
        """The first call that the node would make of a model, or what a node without one writes; no model is asked.

        Raises:
            PluralismError: the node cannot begin.
        """
        begun = self.step.begin(state)
        return begun.call or begun.update

    def _depends(self, state: State) -> list[Any]:
        begun = self.step.begin_ahead(state)
        if begun.call is None:
            return [begun.update, self._leads_to({**state, **begun.update})]
        given = _plain(begun.call.given)
        model = _identity(begun.call.model)
        return [self.step.making, begun.read, begun.prompts, model, given, self._leads_to(state)]

    def _leads_to(self, state: State) -> list[Any]:
        """The nodes that its edges lead to; of an edge that depends on the state, what it reads of `state` (before it
        comes to what the node is yet to write), and the node that it would lead to, where that is known already."""
        edges = [*self._graph.edges, *((start, end) for starts, end in self._graph.waiting_edges for start in starts)]
        ends: list[Any] = sorted(end for start, end in edges if start == self._name)
        for branch in self._graph.branches.get(self._name, {}).values():
            notes = Notes(self._name)
            path: Any = branch.path
            if path.func is None:
                raise TypeError(f"the edge after {self._name} is a coroutine, which cannot be followed here")
            with suppress(KeyError, TypeError):  # it asks for what the node is yet to write
                ends.append(path.func(Noted(state, notes)))
            ends += [sorted(branch.ends or ()), notes.read]
        return ends


def _plain(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return [value.type, value.content]
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _identity(asked: Answerer) -> Any:
    if isinstance(asked, OwnPart) and asked.source is not None:
        return ["own", *_own_names(asked)]
    answers = asked.runnable
    # Of what wraps a chat model, its identity would be asked, which is not all that it depends on.
    if isinstance(answers, HasIdentity) and hasattr(type(answers), "pluralism_identity"):
        return answers.pluralism_identity()
    return ["object", _own_name(answers)]


def _own_names(part: OwnPart) -> list[str]:
    """What a part's source is called. A bound method is made anew whenever it is named, its object is not; what cannot
    be referred to weakly, such as a dict of runnables, is as new as the runnable that was made of it."""
    source = part.source
    owner = getattr(source, "__self__", None)
    try:
        return [_own_name(owner), _own_name(source.__func__)] if hasattr(source, "__func__") else [_own_name(source)]
    except TypeError:
        return [_own_name(part.runnable)]


def _own_name(thing: object) -> str:
    """A name of this object's own, in whatever process: what somebody's own depends on is not known."""
    place = id(thing)
    with _naming:  # nodes that run side by side must not give the same object two names
        known = _known.get(place)
        if known is None or known[0]() is not thing:
            known = _known[place] = (weakref.ref(thing, lambda _: _known.pop(place, None)), uuid4().hex)
        return known[1]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=repr)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
