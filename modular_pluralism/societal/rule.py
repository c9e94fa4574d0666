"""A rule of a contract."""

from __future__ import annotations

import unicodedata
from datetime import date, datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, field_serializer, model_validator

from modular_pluralism.errors import ContractError
from modular_pluralism.societal.verifiers.registry import Verify
from modular_pluralism.table import Table, Text, brief, one_space
from modular_pluralism.types import Strength

_OPTIONAL = Field(exclude_if=lambda value: value is None)


_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Characters that turn the direction of writing: with them a text reads otherwise than it is."""


def _readable(text: str) -> str:
    if not text.strip():
        raise ValueError("must say something")
    for char in text:
        unseen = unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t"
        if unseen or unicodedata.bidirectional(char) in _TURNS:
            raise ValueError(f"holds a character that nobody can read (U+{ord(char):04X}); remove it")
    return text


def _as_date(value: object) -> date | None:
    """JSON has no dates: there they are text."""
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError("must be a date such as 2026-11-01") from None


Readable = Annotated[str, AfterValidator(_readable)]


class Scope(Table):
    """Which questions a rule is for: those with this `attribute`."""

    _error = ContractError

    attribute: Readable

    def covers(self, attribute: str | None) -> bool:
        """Whether it is that of a question; upper and lower case and how it is spaced make no difference."""
        return attribute is not None and one_space(attribute).casefold() == one_space(self.attribute).casefold()


class Rule(Table):
    """A rule: what an answer has to be, who holds it, and how much it counts.

    Args:
        text: The rule in words, which members judge.
        held_by: The communities that hold it, and judge it (None: all of them).
        strength: What becomes of an answer that breaks it: a "must" filters it out, a "should" weighs against it.
        weight: How much a "should" counts beside the others.
        scope: Which questions it is for (None: all of them).
        since: The day from which it holds.
        source: Where it comes from, for people to read.
        verify: What it is verified by, without any model: a verifier's name with its settings.

    Example:
        ```python
        from modular_pluralism.societal.rule import Rule

        short = Rule(verify={"words": {"max": 120}}, strength="must")
        print(short.verify.verifier, short.weight)
        ```
    """

    _error = ContractError

    text: Annotated[Readable | None, _OPTIONAL] = None
    held_by: Annotated[list[Text] | None, _OPTIONAL] = None
    strength: Strength = "should"
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    scope: Annotated[Scope | None, _OPTIONAL] = None
    since: Annotated[date | None, BeforeValidator(_as_date), _OPTIONAL] = None
    source: Annotated[Readable | None, _OPTIONAL] = None
    verify: Annotated[Verify | None, _OPTIONAL] = None

    @model_validator(mode="after")
    def _check_says_something(self) -> Self:
        if self.text is None and self.verify is None:
            raise ValueError("has neither text nor verify; say the rule in words, or name a verifier")
        return self

    @model_validator(mode="after")
    def _check_holders(self) -> Self:
        if self.held_by == []:
            raise ValueError("held_by names nobody; name a community, or remove it to have all of them hold the rule")
        names = self.held_by or []
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"held_by names {brief(twice[0])} twice; keep one")
        return self

    @field_serializer("since", when_used="json")
    def _since(self, since: date | None) -> str | None:
        return None if since is None else since.isoformat()

    def applies(self, attribute: str | None = None, day: date | None = None) -> bool:
        """Whether it is a rule for a question with this attribute, and holds on that day (None: whenever)."""
        in_scope = self.scope is None or self.scope.covers(attribute)
        return in_scope and (day is None or self.since is None or self.since <= day)

    def is_held_by(self, member: str) -> bool:
        """Whether the member holds it."""
        return self.held_by is None or member in self.held_by
