"""A question without the lettered options that the file's authors put at its end."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modular_pluralism.option_math import letters

_ANSWER = r"(?:Answer\s*:?)?\s*\Z"
_HEADING = re.compile(r"\s*\bOptions\s*:\s*\Z")


def without_options(question: str, options: Sequence[str]) -> tuple[str, bool]:
    """The question alone, and whether its lettered options were found at its end.

    "Options:" and "Answer:" go with them, and a "Question:" at the beginning; spaces and line breaks do not matter.
    Where the options are not found, or nothing stands before them, they stay in the text.
    """
    listed = r"\s+".join(
        rf"{letter}\s*[.):]\s*{_spaced(option)}" for letter, option in zip(letters(len(options)), options, strict=True)
    )
    match = re.search(rf"(?:(?<=\s)|\A|(?<=:)){listed}\s*{_ANSWER}", question)
    before = _without_heading(question[: match.start()]) if match is not None else ""
    if before:
        return before, True
    return _without_heading(re.sub(r"\bAnswer\s*:\s*\Z", "", question)), False


def _without_heading(text: str) -> str:
    return re.sub(r"\A\s*Question\s*:\s*", "", _HEADING.sub("", text)).strip()


def _spaced(option: str) -> str:
    return r"\s+".join(re.escape(word) for word in option.split())
