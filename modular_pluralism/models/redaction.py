"""Keeping API keys out of every message: errors, logs and states only ever see text that went through here."""

from __future__ import annotations

_secrets: set[str] = set()


def keep_secret(value: str) -> None:
    """Remember a key, so that `redact` takes it out of texts from now on."""
    if len(value) >= 4:  # shorter ones are placeholders, and would garble ordinary text
        _secrets.add(value)


def redact(text: str) -> str:
    """The text without any known key."""
    for secret in sorted(_secrets, key=len, reverse=True):  # a key may begin with another one
        text = text.replace(secret, "***")
    return text
