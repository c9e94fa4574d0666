"""How many sentences an answer has."""

from __future__ import annotations

from modular_pluralism.sentences import sentences
from modular_pluralism.societal.verifiers.bounds import Bounds
from modular_pluralism.societal.verifiers.spaced import UNSPACED, words_of


class Sentences(Bounds):
    """The number of sentences, which are told apart as in English; silent of scripts without spaces."""

    name = "sentences"
    example = "{ min = 2, max = 6 }"

    def counted(self, text: str) -> int | str:
        """See Bounds."""
        return UNSPACED if words_of(text) is None else len(sentences(text))
