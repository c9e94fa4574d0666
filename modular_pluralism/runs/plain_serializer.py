"""How checkpoints are written: as JSON of plain values, and of LangChain's messages, which are made of such. Nothing
that is read back can make another object or run code."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict

from modular_pluralism.errors import StoreError
from modular_pluralism.models.redaction import redact

_KIND = "json"
_SET = "$set"
"""LangGraph notes in a set which of the nodes that a node waits for have finished; JSON has none."""
_MESSAGE = "$message"
"""A message stands under it as its type, of LangChain's short list, and its fields."""
_OURS = (_SET, _MESSAGE)

_REMEDY = "do not trust this store; `pluralism runs remove` removes a run from it"


class PlainSerializer:
    """A LangGraph serializer that knows None, booleans, numbers, texts, lists, sets of texts, dicts with texts as
    keys, and LangChain's messages. A tuple comes back as a list, and an error as its text, without keys.

    Raises:
        StoreError: there is something else to be written, or was written by somebody else.
    """

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """See LangGraph's SerializerProtocol."""
        try:
            return _KIND, json.dumps(_plain(obj), separators=(",", ":")).encode()
        except (RecursionError, ValueError):
            raise StoreError("The run's state is nested too deeply for a checkpoint; make it flatter.") from None

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """See LangGraph's SerializerProtocol."""
        kind, content = data
        if kind != _KIND:
            raise StoreError(
                f"A checkpoint of the kind {kind!r} is never read, since reading it could run code; {_REMEDY}."
            )
        try:
            return json.loads(content, object_hook=_checked)
        except (RecursionError, ValueError):  # the latter for bytes that are not UTF-8, too
            raise StoreError(f"A checkpoint is damaged and cannot be read; {_REMEDY}.") from None


def _plain(value: Any) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, dict):
        return _plain_dict(value)
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, set | frozenset) and all(type(entry) is str for entry in value):
        return {_SET: sorted(value)}
    if isinstance(value, BaseMessage):
        return {_MESSAGE: _plain(message_to_dict(value))}
    if isinstance(value, BaseException):
        return redact(f"{type(value).__name__}: {value}")
    raise StoreError(
        f"A checkpoint holds plain values only (texts, numbers, messages, lists and dicts of them), and this run's "
        f"state has a {type(value).__module__}.{type(value).__qualname__}; put its content there instead."
    )


def _plain_dict(value: dict[Any, Any]) -> dict[str, Any]:
    for key in value:
        if type(key) is not str or key in _OURS:
            raise StoreError(
                f"A checkpoint cannot hold the key {key!r}: keys are texts other than {' and '.join(_OURS)}; rename it."
            )
    if _makes_object(value):
        raise StoreError("A checkpoint cannot hold a dict that describes an object of LangChain's; leave it out.")
    return {key: _plain(entry) for key, entry in value.items()}


def _checked(value: dict[str, Any]) -> Any:
    """One JSON object that was read, or the set or message that it stands for."""
    if _makes_object(value):
        raise StoreError(f"A checkpoint describes an object to be made, which is never done; {_REMEDY}.")
    if _MESSAGE in value:
        return _message(value)
    if _SET not in value:
        return value
    names = value[_SET]
    if len(value) != 1 or not isinstance(names, list) or not all(isinstance(entry, str) for entry in names):
        raise StoreError(f"A checkpoint is damaged and cannot be read; {_REMEDY}.")
    return set(names)


def _message(value: dict[str, Any]) -> BaseMessage:
    try:
        (kept,) = value.values()
        (message,) = messages_from_dict([kept])  # which knows some types by name, and imports nothing
    except (AttributeError, KeyError, TypeError, ValueError):
        raise StoreError(f"A checkpoint holds a message that is none; {_REMEDY}.") from None
    return message


def _makes_object(value: dict[str, Any]) -> bool:
    """Whether LangChain's own loader would import something for this."""
    return "lc" in value and "id" in value and "type" in value
