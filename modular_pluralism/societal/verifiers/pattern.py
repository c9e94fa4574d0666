"""What an answer must match, or must not."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from modular_pluralism.checked import shown
from modular_pluralism.societal.verifiers.bounded_regex import SECONDS, compiled, searched
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding, finding
from modular_pluralism.societal.verifiers.verifier import Verifier

_LONGEST = 60
"""Characters of a pattern in a reason."""


def _checked(pattern: str) -> str:
    compiled(pattern)
    return pattern


_OPTIONAL = Field(exclude_if=lambda value: value is None)
Expression = Annotated[str, Field(min_length=1), AfterValidator(_checked)]


class Pattern(Verifier):
    """A regular expression that the answer `matches` somewhere, and one that it `forbids`; either may be left out.
    Write (?i) at its head to have upper and lower case count as the same. Silent where it takes longer than a second.
    """

    name = "pattern"
    example = "{ forbids = '(?i)\\bguaranteed?\\b' }"

    matches: Annotated[Expression | None, _OPTIONAL] = None
    forbids: Annotated[Expression | None, _OPTIONAL] = None

    @model_validator(mode="after")
    def _check_any(self) -> Self:
        if self.matches is None and self.forbids is None:
            raise ValueError("has neither matches nor forbids; give one of them")
        return self

    def finding(self, candidate: Candidate) -> Finding:
        """See Verifier."""
        found: list[Finding] = []
        for wanted, pattern in ((False, self.forbids), (True, self.matches)):
            if pattern is not None:
                found.append(_found(pattern, candidate.text, wanted))
        # What is broken is broken, whatever the other one says.
        order = ("broken", "silent", "kept")
        return min(found, key=lambda each: order.index(each.verdict))


def _found(pattern: str, text: str, wanted: bool) -> Finding:
    try:
        match = searched(compiled(pattern), text)
    except TimeoutError:
        return Finding("silent", f"the pattern {_cut(pattern)} took longer than {SECONDS:g} s; write a simpler one")
    if match is None:
        return finding(not wanted, f"nothing matches {_cut(pattern)}")
    return finding(wanted, f"{shown(match)} matches {_cut(pattern)}")


def _cut(pattern: str) -> str:
    """As it is written, and never long."""
    return pattern if len(pattern) <= _LONGEST else f"{pattern[:_LONGEST]}…"
