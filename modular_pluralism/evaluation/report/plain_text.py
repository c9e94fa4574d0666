"""Text from models and users in a page: every character is seen, and none of them acts on the page."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"
"""Emoji and several scripts are written with them."""


def plain_text(text: str) -> str:
    """The text with control characters and direction marks made visible, so that it can be neither hidden nor reversed.

    Escaping for HTML is left to the template.
    """
    return "".join(map(_seen, text.replace("\r\n", "\n")))


def inline(text: str) -> str:
    """A text on one line of Markdown, in which nothing is Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", " ".join(plain_text(text).split()))


def fact_text(value: Any) -> str:
    """A fact of the task or of the run, in words."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if abs(value) < 10_000 else f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "; ".join(f"{plain_text(str(key))}: {fact_text(each)}" for key, each in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(fact_text, value)) or "–"
    return plain_text(str(value))


def _seen(char: str) -> str:
    kind = unicodedata.category(char)
    if ord(char) & 0xFFFE == 0xFFFE:
        return "\ufffd"  # no character at all, and forbidden in XML
    if char in "\n\t" or char in _JOINERS or kind not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return char
    if kind == "Cs":
        return "\ufffd"  # half a character, which no file can hold
    return f"⟨U+{ord(char):04X}⟩"
