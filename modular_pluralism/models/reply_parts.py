"""A reply of an endpoint, taken apart at the border: text, reasoning, and counts that can be true."""

from __future__ import annotations

from typing import Any

_REASONING = ("reasoning_content", "reasoning", "thinking")
_TAGS = {"<think>": "</think>", "[THINK]": "[/THINK]"}
_MOST_TOKENS = 2**31
_DETAILS = ("prompt_tokens_details", "completion_tokens_details")


def checked_usage(usage: object) -> dict[str, Any] | None:
    """A reply's `usage` with the counts that can be true; None where the endpoint gives no count of both kinds."""
    if not isinstance(usage, dict):
        return None
    counts: dict[str, Any] = _counts(usage)
    if not {"prompt_tokens", "completion_tokens"} <= set(counts):
        return None
    details = {name: _counts(usage[name]) for name in _DETAILS if isinstance(usage.get(name), dict)}
    return {**counts, **details}


def _counts(table: dict[Any, Any]) -> dict[str, int]:
    return {
        name: int(value)
        for name, value in table.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS
    }


def reasoning_of(message: dict[str, Any]) -> str:
    """The reasoning that a message or a delta carries beside its text."""
    beside = [message[key] for key in _REASONING if isinstance(message.get(key), str)]
    content = message.get("content")
    within = [_thought(block) for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    return next(filter(None, (*beside, "".join(within))), "")


def _thought(block: dict[str, Any]) -> str:
    if block.get("type") not in ("thinking", "reasoning"):
        return ""
    inside: object = block.get("thinking") or block.get("text") or ""
    if isinstance(inside, list):
        return "".join(str(part.get("text") or "") for part in inside if isinstance(part, dict))
    return inside if isinstance(inside, str) else ""


def without_thoughts(content: object) -> object:
    """A message's content without blocks of reasoning."""
    if not isinstance(content, list):
        return content
    return [block for block in content if not (isinstance(block, dict) and _thought(block))]


class ThoughtSplitter:
    """Tells reasoning that stands at the start of a text, between tags, from the text; piece by piece."""

    def __init__(self) -> None:
        self._held = ""
        self._end: str | None = None
        self._in_text = False

    def passed(self, piece: str) -> tuple[str, str]:
        """Reasoning and text that are certain after this piece."""
        if self._in_text:
            return "", piece
        self._held += piece
        if self._end is None:
            begun = self._held.lstrip()
            tag = next((tag for tag in _TAGS if begun.startswith(tag)), None)
            if tag is None:
                if any(tag.startswith(begun) for tag in _TAGS):
                    return "", ""
                return "", self._rest()
            self._end, self._held = _TAGS[tag], begun[len(tag) :]
        thought, found, text = self._held.partition(self._end)
        if found:
            self._in_text, self._held = True, ""
            return thought, text.lstrip()
        kept = next((n for n in range(len(self._end) - 1, 0, -1) if thought.endswith(self._end[:n])), 0)
        self._held = thought[len(thought) - kept :]
        return thought[: len(thought) - kept], ""

    def ended(self) -> tuple[str, str]:
        """What was held back at the end of the text."""
        if self._in_text:
            return "", ""
        rest = self._rest()
        return (rest, "") if self._end is not None else ("", rest)

    def _rest(self) -> str:
        rest, self._held, self._in_text = self._held, "", True
        return rest


def split_thoughts(text: str) -> tuple[str, str]:
    """Reasoning and text of a whole reply. Where a template has opened the reasoning itself, only its end is there."""
    splitter = ThoughtSplitter()
    thought, said = (one + other for one, other in zip(splitter.passed(text), splitter.ended(), strict=True))
    if not thought and said.count("</think>") == 1:
        thought, _, said = said.partition("</think>")
        said = said.lstrip()
    return thought, said
