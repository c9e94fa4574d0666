"""A reply of an endpoint, taken apart at the border: text, reasoning, and counts that can be true."""

from __future__ import annotations

from typing import Any

from modular_pluralism.llama.thinking import ThoughtSplitter

_REASONING = ("reasoning_content", "reasoning", "thinking")
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


def split_thoughts(text: str) -> tuple[str, str]:
    """Reasoning and text of a whole reply. Where a template has opened the reasoning itself, only its end is there."""
    splitter = ThoughtSplitter()
    thought, said = (one + other for one, other in zip(splitter.passed(text), splitter.ended(), strict=True))
    if not thought and said.count("</think>") == 1:
        thought, _, said = said.partition("</think>")
        said = said.lstrip()
    return thought, said
