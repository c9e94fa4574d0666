"""The ballots of verifiers: each looks at a candidate and says whether it keeps its rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from modular_pluralism.societal.rule import Rule
from modular_pluralism.societal.verifiers.candidate import Candidate
from modular_pluralism.types import Ballot, Verdict


def verify(rules: Mapping[str, Rule], candidate: Candidate, when: str | None = None) -> list[Ballot]:
    """One ballot for each rule that has a verifier, in the rules' order, all of its probability on one verdict. What
    the verifier cannot decide is "silent", with the reason. `when` is a time in UTC, as ISO 8601 writes it.

    Raises:
        ConfigurationError: a verifier of another package fails.
        ModelLoadError: a library that a verifier needs is not installed.
    """
    return [ballot for name, rule in rules.items() if (ballot := _ballot(name, rule, candidate, when)) is not None]


def _ballot(name: str, rule: Rule, candidate: Candidate, when: str | None) -> Ballot | None:
    if rule.verify is None:
        return None
    found = rule.verify.finding(candidate)
    verdicts: tuple[Verdict, ...] = get_args(Verdict)
    return Ballot(
        member=rule.verify.verifier,
        kind="verifier",
        candidate=candidate.name,
        rule=name,
        score=None,
        verdict={each: float(each == found.verdict) for each in verdicts},
        label_mass=None,
        spread=None,
        reason=found.reason,
        when=when,
    )
