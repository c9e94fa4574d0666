"""API keys: where they come from, and whether a request has one."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from modular_pluralism.errors import InputError
from modular_pluralism.models.redaction import keep_secret
from modular_pluralism.serving.api_error import ApiError

VARIABLE = "MODULAR_PLURALISM_KEYS"
_SHORTEST = 16


class Keys:
    """The keys that are let in; without any, everybody is."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        # Digests are of equal length, so that comparing them tells nothing about a key's own length either.
        self._digests = [_digest(key) for key in dict.fromkeys(keys)]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def number(self, authorization: str | None) -> int | None:
        """Which key, from 1, an Authorization header holds; None where no key is needed.

        Raises:
            ApiError: 401, there is none or it is not one of ours.
        """
        if not self._digests:
            return None
        scheme, _, given = (authorization or "").partition(" ")
        digest = _digest(given.strip() if scheme.lower() == "bearer" else "")
        matched = 0
        for number, known in enumerate(self._digests, start=1):
            # Every key is compared, so that the time tells nothing about which ones are similar.
            matched += number * hmac.compare_digest(digest, known)
        if not matched:
            said = "is not one of this server's" if given.strip() else "is missing"
            raise ApiError(
                401,
                f"The API key {said}; send it as the header 'Authorization: Bearer KEY'.",
                kind="authentication_error",
                code="invalid_api_key",
            )
        return matched


def load_keys(file: Path | None) -> Keys:
    """The keys of a file, one a line with # comments, and of the environment variable MODULAR_PLURALISM_KEYS, where
    commas or spaces stand between them.

    Raises:
        InputError: the file cannot be read, holds no key, or a key is too short to be one.
    """
    keys = os.environ.get(VARIABLE, "").replace(",", " ").split()
    if file is not None:
        in_file = _in_file(file)
        if not in_file:
            raise InputError(f"{file} holds no API key; write one a line.")
        keys = [*in_file, *keys]
    for number, key in enumerate(keys, start=1):
        if len(key) < _SHORTEST or not (key.isascii() and key.isprintable()) or " " in key:
            raise InputError(
                f"API key {number} is no usable key; take at least {_SHORTEST} ASCII characters without spaces, as "
                "`openssl rand -hex 24` makes them."
            )
        keep_secret(key, sent=False)
    return Keys(keys)


def _in_file(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The file of API keys {file} cannot be read ({type(error).__name__}).") from None
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def _digest(key: str) -> bytes:
    return sha256(key.encode("utf-8", "replace")).digest()
