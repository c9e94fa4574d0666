"""Regular expressions that stop: one that takes exponential time is given up.

They are the library regex's, which looks at the clock while it matches. Python's own cannot be interrupted, and RE2,
which needs no clock, takes only ASCII for letters and has no lookahead.
"""

from __future__ import annotations

from typing import Any

from modular_pluralism.optional import optional

SECONDS = 1.0
"""Within which a pattern has to match, or not; a usual one takes less than a thousandth of it."""
_MOST = 2000
"""Characters of a pattern."""


def compiled(pattern: str) -> Any:
    """The pattern, ready to be searched for.

    Raises:
        ValueError: it is none, for a sentence that begins with the pattern's place.
        ModelLoadError: the library is not installed.
    """
    regex = optional("regex", "contracts", "Matching a pattern")
    if len(pattern) > _MOST:
        raise ValueError(f"has {len(pattern):,} characters, and a pattern may have {_MOST:,}; write a shorter one")
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"is no regular expression ({error}); correct it") from error
    except (RecursionError, OverflowError, MemoryError) as error:
        raise ValueError("is too deep or too large a regular expression; write a simpler one") from error


def searched(pattern: Any, text: str, seconds: float = SECONDS) -> str | None:
    """What a compiled pattern finds in the text first, or None.

    Raises:
        TimeoutError: it has not finished within the time.
    """
    match = pattern.search(text, timeout=seconds)
    return None if match is None else str(match[0])
