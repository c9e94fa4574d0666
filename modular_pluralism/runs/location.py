"""Where runs are kept: a file of this user's, unless somebody says otherwise."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from modular_pluralism.errors import InputError
from modular_pluralism.home import expanded, own_folder
from modular_pluralism.models.redaction import keep_secret

STORE_VARIABLE = "MODULAR_PLURALISM_STORE"
"""The environment variable that names another location."""

TIMEOUT_VARIABLE = "MODULAR_PLURALISM_STORE_TIMEOUT"
"""The environment variable with the seconds to wait for a store that another process has locked."""

_POSTGRES = ("postgresql", "postgres")
_TIMEOUT = 30.0
MALFORMED_ADDRESS = (
    "The store's address cannot be understood; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special "
    "characters of the password percent-encoded (@ is %40)."
)


@dataclass(frozen=True)
class StoreLocation:
    """A file (`path`) or a Postgres database (`url`). `shown` is what messages call it; it holds no password."""

    shown: str
    path: Path | None = None
    url: str | None = None


def find_location(given: str | Path | None = None) -> StoreLocation:
    """The location that is given, else the one in MODULAR_PLURALISM_STORE, else the file of this user.

    A password in an address is kept out of every message from now on.

    Raises:
        InputError: it is an address of something else than Postgres, or a malformed one; or there is no home folder.
    """
    named = str(given) if given is not None else os.environ.get(STORE_VARIABLE, "").strip()
    if given is not None and not named.strip():
        raise InputError("--store is empty; give a file, or a postgresql:// address.")
    if not named:
        other = f"name a file with --store, or in {STORE_VARIABLE}"
        path = own_folder("data", "runs", other) / "runs.sqlite"
        return StoreLocation(str(path), path=path)
    if "://" not in named:
        return StoreLocation(named, path=expanded(named))
    return _database(named)


def find_timeout() -> float:
    """Seconds to wait for a store that is locked: MODULAR_PLURALISM_STORE_TIMEOUT, else 30.

    Raises:
        InputError: the variable holds no such number.
    """
    named = os.environ.get(TIMEOUT_VARIABLE, "").strip()
    try:
        seconds = float(named or _TIMEOUT)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise InputError(f"{TIMEOUT_VARIABLE} is {named!r}; give seconds from 0 to 86400, or unset it.")
    return seconds


def _database(url: str) -> StoreLocation:
    try:
        parts = urlsplit(url)
        if parts.scheme not in _POSTGRES:
            raise InputError(
                f"Runs are kept in a file or in Postgres, and not in a {parts.scheme} database; give a path, or a "
                "postgresql:// address."
            )
        _keep_passwords(parts.password, dict(parse_qsl(parts.query)).get("password"))
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # a malformed IPv6 address or port, which may be a part of the password
        raise InputError(MALFORMED_ADDRESS) from None
    if parts.netloc.count("@") > 1 or parts.fragment:
        raise InputError(MALFORMED_ADDRESS)
    user = f"{unquote(parts.username)}@" if parts.username else ""
    return StoreLocation(f"postgresql://{user}{host}{port}{parts.path}", url=url)


def _keep_passwords(*passwords: str | None) -> None:
    for password in passwords:
        if password:
            keep_secret(password, sent=False)
            keep_secret(unquote(password), sent=False)
