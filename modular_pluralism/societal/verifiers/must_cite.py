"""Whose comments an answer must cite."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from modular_pluralism.cited_numbers import cited_numbers
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding, finding
from modular_pluralism.societal.verifiers.verifier import Verifier
from modular_pluralism.table import Text


class MustCite(Verifier):
    """The `communities` whose comment the answer cites: by its number in brackets, as comments are numbered for the
    base LLM, or by the community's name. Silent of one that has not commented."""

    name = "must_cite"
    example = '{ communities = ["farmers"] }'

    communities: Annotated[list[Text], Field(min_length=1)]

    def finding(self, candidate: Candidate) -> Finding:
        """See Verifier."""
        given = list(candidate.comments)
        numbers = cited_numbers(candidate.text)
        cited = [name for place, name in enumerate(given, 1) if place in numbers or _is_named(name, candidate.text)]
        if left_out := [name for name in self.communities if name in given and name not in cited]:
            return finding(False, f"it does not cite {', '.join(left_out)}")
        if missing := [name for name in self.communities if name not in given]:
            return Finding("silent", f"there is no comment of {', '.join(missing)}")
        return finding(True, f"it cites {', '.join(self.communities)}")


def _is_named(community: str, text: str) -> bool:
    name = r"[\s_-]+".join(map(re.escape, re.split("[_-]+", community.strip("_-"))))
    return re.search(rf"(?<!\w){name}(?!\w)", text, re.IGNORECASE) is not None
