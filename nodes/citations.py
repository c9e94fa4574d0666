"""Which of the answers that a community was told its comment cites."""

from __future__ import annotations

from collections.abc import Iterable

from modular_pluralism.cited_numbers import NUMBERS, cited_numbers
from modular_pluralism.types import Comment, CommentEvidence


def with_citations(comment: Comment) -> Comment:
    """The comment, whose text may be new, with the numbers that this text cites."""
    if (evidence := comment.get("evidence")) is None:
        return comment
    numbers = cited_numbers(comment["text"])
    told = list(evidence["told"])
    cited = [number for number in numbers if 1 <= number <= len(told)]
    invented = [number for number in numbers if number not in cited]
    return {**comment, "evidence": CommentEvidence(told=told, cited=cited, invented=invented)}


def without_citations(comment: Comment) -> str:
    """The comment's text as other prompts have it: they do not show the answers that the numbers stand for, and another
    community's [1] is another answer."""
    text = comment["text"]
    if not NUMBERS.search(text):
        return text
    evidence = comment.get("evidence")
    return NUMBERS.sub("", text).strip() if evidence and evidence["told"] else text


def in_words(evidence: CommentEvidence) -> str:
    """What a community was told, and what its comment cites of it, for people to read."""
    if not (count := len(evidence["told"])):
        return "Told none of its people's answers: no question was near enough."
    cites = f"cites {numbered(evidence['cited'])}" if evidence["cited"] else "cites none"
    return f"Told {count} of its people's answers; {cites}."


def numbered(numbers: Iterable[int]) -> str:
    """[1], [3]"""
    return ", ".join(f"[{number}]" for number in numbers)
