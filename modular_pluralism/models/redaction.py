"""What messages may show of texts from elsewhere: no API keys, and nothing that a terminal would obey."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import TypeVar, cast

from langchain_core.messages import AIMessageChunk, BaseMessage

from modular_pluralism.errors import ModelCallError

_GONE = "***"
_CERTAIN, _NUMBERED = 16, 8
"""Characters of a secret that no text holds by chance: so many, or so many with a digit among them. Local servers are
given keys such as "EMPTY" and "not-needed", which are ordinary words."""

_Value = TypeVar("_Value")
_Message = TypeVar("_Message", bound=BaseMessage)

_secrets: set[str] = set()
_sent: tuple[str, ...] = ()
"""Those that an endpoint knows and no text holds by chance, the longest first: a key may begin with another one."""


def keep_secret(value: str, *, sent: bool = True) -> None:
    """Remember a key, so that `redact` takes it out of texts from now on, and `keyless` too, where it is `sent` to an
    endpoint."""
    global _sent
    if len(value) >= 4:  # shorter ones are placeholders, and would garble ordinary text
        _secrets.add(value)
    if sent and len(value) >= (_NUMBERED if any(map(str.isdigit, value)) else _CERTAIN):
        _sent = tuple(sorted({*_sent, value}, key=len, reverse=True))


def without_keys(text: str) -> str:
    """The text without any known key, and otherwise as it is."""
    for secret in sorted(_secrets, key=len, reverse=True):  # a key may begin with another one
        text = text.replace(secret, _GONE)
    return text


def keyless(value: _Value) -> _Value:
    """What has come from a model, without the keys that an endpoint has put into it: a text, or tables and lists of
    such. A secret that may be an ordinary word (shorter than 16 characters, or than 8 with a digit) stays in it.

    Raises:
        ModelCallError: they are nested too deeply.
    """
    try:
        return cast(_Value, _replaced(value, _sent)) if _sent else value
    except RecursionError:
        raise ModelCallError("A model's reply is nested too deeply to be read; use another model.") from None


def _replaced(value: object, secrets: tuple[str, ...]) -> object:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, _GONE)
        return value
    if isinstance(value, Mapping):
        return {_replaced(key, secrets): _replaced(each, secrets) for key, each in value.items()}
    return [_replaced(each, secrets) for each in value] if isinstance(value, list) else value


def keyless_message(message: _Message) -> _Message:
    """The message, of which every part is `keyless`."""
    if not _sent:
        return message
    parts = {
        name: getattr(message, name)
        for name in ("content", "additional_kwargs", "response_metadata", "tool_calls", "invalid_tool_calls")
        if hasattr(message, name)
    }
    clean = keyless(parts)
    return message if clean == parts else message.model_copy(update=clean)


class KeylessText:
    """A text that comes in pieces, of which an end that may be the beginning of a key is held back."""

    def __init__(self) -> None:
        self._held = ""

    def passed(self, piece: str) -> str:
        """What is certain after this piece."""
        text, held = keyless(self._held + piece), 0
        for secret in _sent:
            longest = min(len(text), len(secret) - 1)
            held = max(held, next((size for size in range(longest, 0, -1) if secret.startswith(text[-size:])), 0))
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def ended(self) -> str:
        """What was held back at the end of the text."""
        rest, self._held = self._held, ""
        return rest


class KeylessChunks:
    """The parts of one streamed message, whose text, reasoning and arguments of tools are each a `KeylessText`."""

    def __init__(self) -> None:
        self._texts: dict[object, KeylessText] = {}

    def passed(self, message: AIMessageChunk) -> AIMessageChunk:
        """The part with what is certain after it."""
        if not _sent:
            return message
        if isinstance(message.content, str):
            message.content = self._of("").passed(message.content)
        extra = message.additional_kwargs
        for key in _SPOKEN & extra.keys():
            extra[key] = self._of(key).passed(str(extra[key] or ""))
        if not message.tool_call_chunks:
            return message
        return _calling(
            message,
            [
                {**call, "args": call["args"] and self._of(call["index"]).passed(call["args"])}
                for call in message.tool_call_chunks
            ],
        )

    def rest(self) -> AIMessageChunk | None:
        """What was held back of a message that has ended."""
        held = {place: rest for place, text in self._texts.items() if (rest := text.ended())}
        if not held:
            return None
        extra = {key: held.pop(key) for key in _SPOKEN & held.keys()}
        message = AIMessageChunk(content=held.pop("", ""), additional_kwargs=extra)
        calls = [{"name": None, "args": args, "id": None, "index": index} for index, args in held.items()]
        return _calling(message, calls) if calls else message

    def _of(self, place: object) -> KeylessText:
        return self._texts.setdefault(place, KeylessText())


_SPOKEN = {"reasoning_content", "refusal"}


def _calling(message: AIMessageChunk, calls: list[dict[str, object]]) -> AIMessageChunk:
    """The part with these parts of calls, of which LangChain makes the rest."""
    return AIMessageChunk.model_validate(
        {**message.model_dump(), "tool_call_chunks": calls, "tool_calls": [], "invalid_tool_calls": []}
    )


def redact(text: str) -> str:
    """The text without any known key, and without control characters other than line ends and tabs.

    An endpoint writes what it likes into its errors: a terminal command, or half a character that cannot be printed.
    """
    text = without_keys(text)
    return text if text.isprintable() else "".join(filter(_is_harmless, text))


def _is_harmless(char: str) -> bool:
    return char in "\n\r\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs")
