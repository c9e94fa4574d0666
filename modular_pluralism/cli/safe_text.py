"""Text from models and users on a terminal: shown as it is, and never obeyed."""

from __future__ import annotations

import unicodedata

from rich.text import Text


def safe(text: str, style: str = "") -> Text:
    """The text without control characters (such as the one that starts terminal commands) and without markup."""
    kept = (char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs"))
    return Text("".join(kept), style=style)
