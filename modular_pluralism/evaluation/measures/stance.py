"""The stance that an answer in words takes."""

from __future__ import annotations

import re

_LETTER = re.compile(r"\s*(?:(?:the\s+)?answer\s*(?:is|:)\s*)?[(\[\"'*]*([ABC])(?![\w'’])", re.IGNORECASE)
_ALONE = re.compile(r"(?<![\w'’])([ABC])(?=[.):])")
_ARTICLE = re.compile(r"[ \t]+\w")
"""What follows the word "a"; what follows the letter A is a sign, or the end of the line."""

_WORDS = (
    (2, re.compile(r"\beither\b|\bit depends\b|\bdepends on\b", re.IGNORECASE)),
    (0, re.compile(r"\bsupport(?:s|ed|ing)?\b", re.IGNORECASE)),
    (1, re.compile(r"\boppos(?:e|es|ed|ing)\b", re.IGNORECASE)),
)
_NOT = re.compile(
    r"n['’]t\b|\b(?:not|never|neither|nor|no|none|nobody|nothing|cannot|without|hardly|scarcely|unable|"
    r"(?:fail|refus|declin)(?:e|s|es|ed|ing)?\s+to)\b",
    re.IGNORECASE,
)
_NO_NEGATION = re.compile(r"\bwhether\s+or\s+not\b|\bnot\s+only\b|\A\W*no,", re.IGNORECASE)
_BETWEEN_CLAUSES = re.compile(
    r"[.!?;:]+(?=\s|\Z)|\n|,\s*so\b|\b(?:but|although|though|while|whereas|because)\b", re.IGNORECASE
)
"""A comma alone is none: "would not, under any circumstances, support it"."""


def stance_of(answer: str) -> int | None:
    """0 for support, 1 for oppose, 2 for either; None where the answer takes none that can be told.

    A letter at the beginning counts first, then a single letter that is set off ("B."), then the words. "Either" and
    "it depends" name both and win. No stance are both support and oppose without them, no word at all, and a letter or
    a word with a negation anywhere in its clause: what is negated there takes more than a pattern to tell. (The paper's
    release guesses at random there.)
    """
    start = _LETTER.match(answer)
    if start is not None and not _is_article(answer, start):
        return "ABC".index(start[1].upper())
    letters = list(_ALONE.finditer(answer))
    if letters:
        one = len({match[1] for match in letters}) == 1
        return "ABC".index(letters[0][1]) if one and not any(_is_negated(answer, each) for each in letters) else None
    said = set()
    for stance, words in _WORDS:
        for match in words.finditer(answer):
            if _is_negated(answer, match):
                return None
            said.add(stance)
    if 2 in said:
        return 2
    return said.pop() if len(said) == 1 else None


def _is_article(answer: str, start: re.Match[str]) -> bool:
    """Whether the letter is the word "a", as in "A right to privacy supports it" and "A Christian would"."""
    return start[1] in "Aa" and _ARTICLE.match(answer, start.end()) is not None


def _is_negated(answer: str, match: re.Match[str]) -> bool:
    """Whether a negation stands in the same clause, before or after."""
    before, after = 0, len(answer)
    for boundary in _BETWEEN_CLAUSES.finditer(answer):
        if boundary.end() <= match.start():
            before = boundary.end()
        elif boundary.start() >= match.end():
            after = boundary.start()
            break
    return _NOT.search(_NO_NEGATION.sub(" ", answer[before:after])) is not None
