"""How hard an answer is to read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modular_pluralism.sentences import sentences
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding, finding
from modular_pluralism.societal.verifiers.spaced import UNSPACED, words_of
from modular_pluralism.societal.verifiers.verifier import Verifier

_FEWEST = 30
"""Words below which the grade says nothing."""


class ReadingLevel(Verifier):
    """The school grade for which an English text is written, at most `max`, by the Automated Readability Index (Smith
    and Senter, 1967): 4.71 × letters a word + 0.5 × words a sentence − 21.43. It is made for English, whatever the
    answer's language is; silent of fewer than 30 words.

    It counts letters, and not syllables, which only a pronouncing dictionary knows.
    """

    name = "reading_level"
    example = "{ max = 9 }"

    max: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    def finding(self, candidate: Candidate) -> Finding:
        """See Verifier."""
        words = words_of(candidate.text)
        if words is None or len(words) < _FEWEST:
            return Finding("silent", UNSPACED if words is None else f"{len(words)} words; {_FEWEST} tell a grade")
        grade = _grade(words, len(sentences(candidate.text)))
        return finding(grade <= self.max, f"grade {grade:.1f}; at most {self.max:g}")


def _grade(words: list[str], count: int) -> float:
    letters = sum(char.isalnum() for word in words for char in word)
    return 4.71 * letters / len(words) + 0.5 * len(words) / count - 21.43
