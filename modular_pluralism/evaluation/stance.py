"""The stance that an answer in words takes."""

from __future__ import annotations

import re

_LETTER = re.compile(r"\s*(?:(?:the\s+)?answer\s*(?:is|:)\s*)?[(\[\"'*]*([ABC])(?![\w'’])", re.IGNORECASE)
_ALONE = re.compile(r"(?<![\w'’])([ABC])(?=[.):])")
_WORDS = (
    (2, re.compile(r"\beither\b|\bit depends\b|\bdepends on\b", re.IGNORECASE)),
    (0, re.compile(r"\bsupport(?:s|ed|ing)?\b", re.IGNORECASE)),
    (1, re.compile(r"\boppos(?:e|es|ed|ing)\b", re.IGNORECASE)),
)
_NOT = re.compile(r"\b(?:not|never|neither|n't|cannot)\s+(?:\w+\s+){0,2}\Z", re.IGNORECASE)


def stance_of(answer: str) -> int | None:
    """0 for support, 1 for oppose, 2 for either; None where the answer takes none that can be told.

    A letter at the beginning counts first, then a single letter that is set off ("B."), then the words. "Either" and
    "it depends" name both and win; both support and oppose without them, a negated word, and no word at all are no
    stance. (The paper's release guesses at random there.)
    """
    start = _LETTER.match(answer)
    if start is not None and not _is_article(answer, start):
        return "ABC".index(start[1].upper())
    letters = {found[1] for found in _ALONE.finditer(answer)}
    if len(letters) == 1:
        return "ABC".index(letters.pop())
    if letters:
        return None
    said = set()
    for stance, words in _WORDS:
        for found in words.finditer(answer):
            if _NOT.search(answer[: found.start()]) or "n't " in answer[max(0, found.start() - 8) : found.start()]:
                return None
            said.add(stance)
    if 2 in said:
        return 2
    return said.pop() if len(said) == 1 else None


def _is_article(answer: str, start: re.Match[str]) -> bool:
    """Whether the letter is the word "a", as in "A right to privacy supports it"."""
    after = answer[start.end() :].lstrip(" ")
    return start[1] in "Aa" and answer[start.end() : start.end() + 1] == " " and after[:1].islower()
