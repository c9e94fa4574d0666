"""How many words an answer has."""

from __future__ import annotations

from modular_pluralism.societal.verifiers.bounds import Bounds
from modular_pluralism.societal.verifiers.spaced import UNSPACED, words_of


class Words(Bounds):
    """The number of words, which are what stands between white space; silent of scripts that have none."""

    name = "words"
    example = "{ max = 120 }"

    def counted(self, text: str) -> int | str:
        """See Bounds."""
        words = words_of(text)
        return UNSPACED if words is None else len(words)
