"""Verifiers that hold a number between two others."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Self

from pydantic import Field, model_validator

from modular_pluralism.societal.verifiers.candidate import Candidate, Finding, finding
from modular_pluralism.societal.verifiers.verifier import Verifier

Count = Annotated[int, Field(ge=0)]
_OPTIONAL = Field(exclude_if=lambda value: value is None)


class Bounds(Verifier):
    """A number that has to be at least `min` and at most `max`; either may be left out."""

    min: Annotated[Count | None, _OPTIONAL] = None
    max: Annotated[Count | None, _OPTIONAL] = None

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("has neither min nor max; give one of them")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"has a min of {self.min} above its max of {self.max}; exchange them")
        return self

    def finding(self, candidate: Candidate) -> Finding:
        """See Verifier."""
        found = self.counted(candidate.text)
        if isinstance(found, str):
            return Finding("silent", found)
        wanted = [
            f"at {word} {bound}" for word, bound in (("least", self.min), ("most", self.max)) if bound is not None
        ]
        kept = (self.min is None or found >= self.min) and (self.max is None or found <= self.max)
        noun = self.name if found != 1 else self.name.removesuffix("s")
        return finding(kept, f"{found:,} {noun}; {' and '.join(wanted)}")

    @abstractmethod
    def counted(self, text: str) -> int | str:
        """How many of them the text has, or why that cannot be said."""
