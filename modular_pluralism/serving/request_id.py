"""The id under which a request stands in the log and in its response's headers."""

from __future__ import annotations

import re
import secrets

_SANE = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(given: str | None) -> str:
    """The client's own id where it is harmless in a log, else a new one."""
    return given if given and _SANE.fullmatch(given) else f"req-{secrets.token_hex(12)}"
