"""Which language an answer is written in."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import AfterValidator

from modular_pluralism.optional import optional
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding, finding
from modular_pluralism.societal.verifiers.verifier import Verifier

_SURE = 0.8
"""The share that a language has to have of all 75 for the text to be called that. Of a whole sentence it is above 0.95,
of a single word often below 0.3."""


def _checked(code: str) -> str:
    known = _languages()
    if code.upper() not in known:
        codes = ", ".join(sorted(known)).lower()
        raise ValueError(f"must be the code of a language (ISO 639-1) that can be told: {codes}")
    return code.lower()


class Language(Verifier):
    """The `code` of the language that the answer is written in, such as "en". Silent of a text that is too short, or
    too mixed, to tell."""

    name = "language"
    example = '{ code = "en" }'

    code: Annotated[str, AfterValidator(_checked)]

    def finding(self, candidate: Candidate) -> Finding:
        """See Verifier."""
        likely = _detector().compute_language_confidence_values(candidate.text)[0]
        told = likely.language.name.capitalize()
        if likely.value < _SURE:
            return Finding("silent", "its language cannot be told")
        return finding(likely.language.iso_code_639_1.name.lower() == self.code, f"it is {told}")


def _lingua() -> Any:
    return optional("lingua", "language", "Telling an answer's language")


@cache
def _languages() -> frozenset[str]:
    return frozenset(language.iso_code_639_1.name for language in _lingua().Language.all())


@cache
def _detector() -> Any:
    # The accurate mode takes a gigabyte and tells no more of texts that are longer than a line.
    return _lingua().LanguageDetectorBuilder.from_all_languages().with_low_accuracy_mode().build()
