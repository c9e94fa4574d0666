"""What messages may show of texts from elsewhere: no API keys, and nothing that a terminal would obey."""

from __future__ import annotations

import unicodedata

_secrets: set[str] = set()


def keep_secret(value: str) -> None:
    """Remember a key, so that `redact` takes it out of texts from now on."""
    if len(value) >= 4:  # shorter ones are placeholders, and would garble ordinary text
        _secrets.add(value)


def without_keys(text: str) -> str:
    """The text without any known key, and otherwise as it is."""
    for secret in sorted(_secrets, key=len, reverse=True):  # a key may begin with another one
        text = text.replace(secret, "***")
    return text


def redact(text: str) -> str:
    """The text without any known key, and without control characters other than line ends and tabs.

    An endpoint writes what it likes into its errors: a terminal command, or half a character that cannot be printed.
    """
    text = without_keys(text)
    return text if text.isprintable() else "".join(filter(_is_harmless, text))


def _is_harmless(char: str) -> bool:
    return char in "\n\r\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs")
