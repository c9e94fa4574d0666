"""What people submit to a hearing, checked as data: nothing of it is told to a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from modular_pluralism.errors import InputError
from modular_pluralism.table import brief
from modular_pluralism.types import Ballot


def _readable(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be text on one line that can be read")
    return text.strip()


def _time(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time such as 2026-11-01T12:00:00+00:00") from None
    return text


Name = Annotated[str, Field(max_length=80), AfterValidator(_readable)]
Words = Annotated[str, Field(max_length=2000), AfterValidator(_readable)]
When = Annotated[str, AfterValidator(_time)] | None


class _Submission(BaseModel):
    """Something that one person, `who`, has submitted, and when (a time in UTC, as ISO 8601 writes it)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    who: Name
    when: When = None

    def about(self) -> str:
        """What it is about: of one person there is one submission about each thing."""
        return ""


class Accept(_Submission):
    """The answer is accepted as it is."""

    kind: Literal["accept"]


class PersonalBallot(_Submission):
    """How well a candidate serves the person, from 0 to 1."""

    kind: Literal["ballot"]
    candidate: Name
    score: Annotated[float, Field(ge=0, le=1)]
    reason: Words | None = None

    def about(self) -> str:
        """See _Submission."""
        return self.candidate


class Weigh(_Submission):
    """Another weight for a member, relative to the others."""

    kind: Literal["weigh"]
    member: Name
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    def about(self) -> str:
        """See _Submission."""
        return self.member


class Contest(_Submission):
    """A rule of the contract, or a community's comment, is contested."""

    kind: Literal["contest"]
    rule: Name | None = None
    comment: Name | None = None
    reason: Words

    def about(self) -> str:
        """See _Submission."""
        return f"{self.rule}/{self.comment}"


Submission = Annotated[Accept | PersonalBallot | Weigh | Contest, Field(discriminator="kind")]
_SUBMISSIONS = TypeAdapter(list[Submission])


class Known:
    """What can be submitted about: the candidates, the communities, the rules, and the names that nobody may take."""

    def __init__(
        self, candidates: Collection[str], communities: Sequence[str], rules: Collection[str], taken: Collection[str]
    ) -> None:
        self.candidates, self.communities, self.rules, self.taken = candidates, communities, rules, taken


def checked_submissions(given: Any, version: str, known: Known) -> list[dict[str, Any]]:
    """What people have submitted for this version of the minutes, in plain values.

    Raises:
        InputError: it is for another version, or something in it is none, is about what is not there, or is there
            twice.
    """
    if not isinstance(given, Mapping) or set(given) != {"version", "submissions"}:
        raise InputError(
            "A hearing is answered with its version and a list of submissions; give both, and nothing else."
        )
    if given["version"] != version:
        raise InputError(
            f"The submissions are for the version {brief(str(given['version']))}, and the minutes are at {version}; "
            "read them again, and submit for that."
        )
    try:
        found = _SUBMISSIONS.validate_python(given["submissions"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"The submissions cannot be taken ({place or 'as a whole'}: "
            f"{first['msg'].removeprefix('Value error, ')}); mend that."
        ) from None
    seen: set[tuple[str, str, str]] = set()
    persons = {each.who for each in found if isinstance(each, PersonalBallot)}
    for each in found:
        _check_about(each, known, persons)
        key = (each.who, each.kind, each.about())
        if key in seen:
            raise InputError(f"{each.who} has submitted a {each.kind} about the same thing twice; keep one of them.")
        seen.add(key)
    return [each.model_dump(mode="json") for each in found]


def _check_about(each: Accept | PersonalBallot | Weigh | Contest, known: Known, persons: Collection[str]) -> None:
    if each.who in known.taken:
        raise InputError(f"A person submits as {each.who}, as a member of the assembly is called; use another name.")
    if isinstance(each, PersonalBallot) and each.candidate not in known.candidates:
        raise _no_such(each.who, "candidate", each.candidate, known.candidates)
    if isinstance(each, Weigh) and each.member not in (*known.communities, *persons):
        raise _no_such(each.who, "member", each.member, (*known.communities, *sorted(persons)))
    if isinstance(each, Contest):
        if (each.rule is None) == (each.comment is None):
            raise InputError(f"{each.who} contests no rule and no comment, or both; name one of the two.")
        if each.rule is not None and each.rule not in known.rules:
            raise _no_such(each.who, "rule", each.rule, known.rules)
        if each.comment is not None and each.comment not in known.communities:
            raise _no_such(each.who, "comment of", each.comment, known.communities)


def _no_such(who: str, what: str, name: str, known: Collection[str]) -> InputError:
    return InputError(
        f"{who} names the {what} {brief(name)}, which is not there; there are {', '.join(known) or 'none'}."
    )


def ballots_of_persons(submissions: Sequence[Mapping[str, Any]]) -> dict[str, list[Ballot]]:
    """The ballots among submissions, by person."""
    by_person: dict[str, list[Ballot]] = {}
    for each in submissions:
        if each["kind"] == "ballot":
            by_person.setdefault(each["who"], []).append(
                Ballot(
                    member=each["who"],
                    kind="person",
                    candidate=each["candidate"],
                    rule=None,
                    score=each["score"],
                    verdict=None,
                    label_mass=None,
                    spread=None,
                    reason=each["reason"],
                    when=each["when"],
                )
            )
    return by_person
