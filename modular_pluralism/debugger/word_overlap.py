"""Which comment a sentence shares its words with: a measure that needs no model and works offline."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from modular_pluralism.evaluation.measures.entailment import Counts

_WORD = re.compile(r"\w+")


class WordOverlap:
    """The share of a sentence's words that a comment has, from 0 to 1, each word weighted by how few of the comments
    have it: what all communities say tells nothing about where a sentence comes from.

    It offers what `EntailmentMeasure` does; the first text of a pair is the comment.
    """

    def __init__(self, comments: Sequence[str]) -> None:
        self._count = len(comments)
        self._having = Counter(word for comment in comments for word in _words(comment))

    @property
    def name(self) -> str:
        """What the measure is called."""
        return "shared words"

    def note(self, counts: Counts) -> str:
        """What it tells and what it does not."""
        return (
            "Sentences and comments were compared by the words that they share, rare ones counting more. That finds "
            "what was copied or closely followed; it misses what was said in other words, and a sentence that denies a "
            "comment shares its words, too."
        )

    async def scores(self, pairs: Sequence[tuple[str, str]], counts: Counts | None = None) -> list[float]:
        """The overlap of each pair."""
        return [self._score(comment, sentence) for comment, sentence in pairs]

    def _score(self, comment: str, sentence: str) -> float:
        has, wants = _words(comment), _words(sentence)
        total = math.fsum(map(self._weight, wants))
        return math.fsum(self._weight(word) for word in wants if word in has) / total if total else 0.0

    def _weight(self, word: str) -> float:
        return math.log((self._count + 1) / max(1, self._having[word]))


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))
