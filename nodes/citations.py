"""Which of the answers that a community was told its comment cites."""

from __future__ import annotations

import re
from collections.abc import Iterable

from modular_pluralism.types import Comment, CommentEvidence

_NUMBERS = re.compile(r"\s*\[\s*([0-9]{1,6}(?:\s*[,;]\s*[0-9]{1,6})*)\s*\]")
"""[1], and what models write for several as well: [1, 3]."""
_LISTED = re.compile(r"^\s*\[\s*[0-9]{1,6}\s*\]", re.MULTILINE)
"""A number at the head of a line, as small models number their own points."""


def with_citations(comment: Comment) -> Comment:
    """The comment, whose text may be new, with the numbers that this text cites. Where several lines begin with one, it
    is a list that numbers itself, which cites nothing by that."""
    if (evidence := comment.get("evidence")) is None:
        return comment
    text = comment["text"]
    if len(_LISTED.findall(text)) > 1:
        text = _LISTED.sub("", text)
    found = (number for group in _NUMBERS.finditer(text) for number in re.findall("[0-9]+", group[1]))
    numbers = sorted({int(number) for number in found})
    told = list(evidence["told"])
    cited = [number for number in numbers if 1 <= number <= len(told)]
    invented = [number for number in numbers if number not in cited]
    return {**comment, "evidence": CommentEvidence(told=told, cited=cited, invented=invented)}


def without_citations(comment: Comment) -> str:
    """The comment's text as other prompts have it: they do not show the answers that the numbers stand for, and another
    community's [1] is another answer."""
    text = comment["text"]
    if not _NUMBERS.search(text):
        return text
    evidence = comment.get("evidence")
    return _NUMBERS.sub("", text).strip() if evidence and evidence["told"] else text


def in_words(evidence: CommentEvidence) -> str:
    """What a community was told, and what its comment cites of it, for people to read."""
    if not (count := len(evidence["told"])):
        return "Told none of its people's answers: no question was near enough."
    cites = f"cites {numbered(evidence['cited'])}" if evidence["cited"] else "cites none"
    return f"Told {count} of its people's answers; {cites}."


def numbered(numbers: Iterable[int]) -> str:
    """[1], [3]"""
    return ", ".join(f"[{number}]" for number in numbers)
