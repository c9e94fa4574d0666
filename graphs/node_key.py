"""What a node's output depends on, as a short text: two equal keys mean that running the node would be a repetition."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Sequence
from hashlib import blake2b
from threading import Lock
from typing import Any
from uuid import uuid4

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from modular_pluralism.models.identity import HasIdentity
from modular_pluralism.nodes.ask import ModelCall
from modular_pluralism.nodes.quorum import heard
from modular_pluralism.nodes.step import State, Step, Update, first

Reads = Callable[[State], Any]
"""What of the state reaches a node's output without standing in its first model call; plain values."""

_naming = Lock()
_known: dict[int, tuple[weakref.ref[BaseChatModel], str]] = {}


class NodeKey:
    """Makes the key of a node from the state that it is given.

    A node depends on what it would ask first: the model with its sampling and adapter, the messages as they are
    rendered (and so on the prompts that it uses, and on no others), the seed and the number of tokens. `reads` are what
    else of the state it uses, and `also` what else of its making. A node that asks no model depends on what it makes of
    the state, which costs nothing to find out. `place` is where the node stands (the edges after it are cached, too).
    """

    def __init__(self, step: Step, place: Sequence[str], reads: Reads | None = None, also: Any = None) -> None:
        self._step = step
        self._place = list(place)
        self._reads = reads
        self._also = also

    def __call__(self, state: State) -> str:
        """The key; never an equal one where the node cannot begin, so that it says itself what is wrong."""
        try:
            depends = [self._place, self._also, self._reads and self._reads(state), _described(self.asks(state))]
        except Exception:  # whatever it is: the node raises it again, where its errors belong
            depends = ["never", uuid4().hex]
        return _digest(depends)

    def asks(self, state: State) -> ModelCall[Any] | Update:
        """The first call that the node would make of a model, or what a node without one writes; no model is asked.

        Raises:
            PluralismError: the node cannot begin.
        """
        begun = first(self._step(state))
        assert isinstance(begun, ModelCall | dict)
        return begun


def node_keys(graph: StateGraph[Any, Any, Any, Any]) -> dict[str, NodeKey]:
    """The key of every node of a graph that is not compiled, and of those of its subgraphs as "SUBGRAPH/NODE"."""
    found: dict[str, NodeKey] = {}
    for name, spec in graph.nodes.items():
        if isinstance(spec.runnable, CompiledStateGraph):
            found |= {f"{name}/{inner}": key for inner, key in node_keys(spec.runnable.builder).items()}
        elif spec.cache_policy is not None and isinstance(spec.cache_policy.key_func, NodeKey):
            found[name] = spec.cache_policy.key_func
    return found


def heard_of(communities: Sequence[str]) -> Reads:
    """Who has answered and who is missing: names stand in the result, and texts alone in the prompt."""
    return lambda state: heard(state, communities)


def question_of(*keys: str) -> Reads:
    """These parts of the question, as they are in the state."""
    return lambda state: [state.get(key) for key in keys]


def both(*reads: Reads) -> Reads:
    """All of these."""
    return lambda state: [each(state) for each in reads]


def _described(begun: ModelCall[Any] | Update) -> Any:
    if isinstance(begun, dict):
        return begun
    assert begun.model is not None
    return [_identity(begun.model.chat), {key: _plain(value) for key, value in begun.given.items()}]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return [value.type, value.content]
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _identity(chat: BaseChatModel) -> Any:
    if isinstance(chat, HasIdentity):
        return chat.pluralism_identity()
    return ["object", _own_name(chat)]


def _own_name(chat: BaseChatModel) -> str:
    """A name of this object's own, in whatever process: what a chat model of somebody's depends on is not known."""
    place = id(chat)
    with _naming:  # nodes that run side by side must not give the same object two names
        known = _known.get(place)
        if known is None or known[0]() is not chat:
            known = _known[place] = (weakref.ref(chat, lambda _: _known.pop(place, None)), uuid4().hex)
        return known[1]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=repr)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
