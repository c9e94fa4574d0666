"""What an answer must not say."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from modular_pluralism.checked import shown
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding, finding
from modular_pluralism.societal.verifiers.verifier import Verifier
from modular_pluralism.table import Text


def _checked(text: str) -> str:
    if not _folded(text):
        raise ValueError("has a text of nothing that can be read; write words")
    return text


class ForbiddenText(Verifier):
    """Words or phrases that the answer must not have. They count as whole words; upper and lower case, accents written
    in two ways, and how words are spaced make no difference."""

    name = "forbidden_text"
    example = '{ texts = ["we guarantee", "nobody will lose"] }'

    texts: Annotated[list[Annotated[Text, AfterValidator(_checked)]], Field(min_length=1)]

    def finding(self, candidate: Candidate) -> Finding:
        """See Verifier."""
        said = _folded(candidate.text)
        found = [text for text in self.texts if _has(said, _folded(text))]
        if found:
            return finding(False, f"it says {', '.join(map(shown, found))}")
        return finding(True, f"it says none of {len(self.texts)} forbidden texts")


def _has(said: str, text: str) -> bool:
    # Before and behind a word stands no letter; what begins or ends with another sign needs no such edge.
    before, behind = (r"(?<!\w)" if text[:1].isalnum() else ""), (r"(?!\w)" if text[-1:].isalnum() else "")
    return re.search(before + re.escape(text) + behind, said) is not None


def _folded(text: str) -> str:
    """As texts are compared: without signs that nobody sees."""
    whole = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(char for char in whole if unicodedata.category(char) != "Cf").split())
