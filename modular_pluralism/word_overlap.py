"""How much of a sentence's words a comment has: what can be said without any model of where a sentence comes from."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

WORDS_THRESHOLD = 0.4
"""Of 34 different sentences in the demo model's Overton answers to six questions, 71 % score above it for one of their
own comments, and 5 % for one on another question."""


class WordOverlap:
    """The share of a sentence's words that a comment has, from 0 to 1, each word weighted by how few of the comments
    have it: what all communities say tells nothing about where a sentence comes from."""

    def __init__(self, comments: Sequence[str]) -> None:
        self._count = len(comments)
        self._having = Counter(word for comment in comments for word in _words(comment))

    def score(self, comment: str, sentence: str) -> float:
        """The share of the sentence's words, by their weight, that the comment has."""
        has, wants = _words(comment), _words(sentence)
        total = math.fsum(map(self._weight, wants))
        return math.fsum(self._weight(word) for word in wants if word in has) / total if total else 0.0

    def _weight(self, word: str) -> float:
        return math.log((self._count + 1) / max(1, self._having[word]))


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))
