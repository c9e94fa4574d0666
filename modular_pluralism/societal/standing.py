"""What a candidate answer stands by a contract: which rules it keeps, by whose word, and whether a repair is taken.

After section 4.3 of Stańczak et al. (arXiv 2503.00069): a contract is incomplete, so that "silent" is an answer, and
nothing that is silent or broken passes for kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from typing_extensions import TypedDict

from modular_pluralism.errors import InputError
from modular_pluralism.societal.rule import Rule
from modular_pluralism.types import Ballot, Status, Strength, Verdict

DECIDED = 0.5
"""A rule is kept, or broken, where the probability of that is above it; else it is silent."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


class MemberWord(TypedDict):
    """What one member says of a rule: its own verdict, and the reason where it has one."""

    member: str
    kind: str
    verdict: Verdict
    reason: str | None


class RuleStanding(TypedDict):
    """How a candidate stands by a rule. `verdict` has the probability of each verdict: the verifier's, where
    `decided_by` is that, else the weighted mean of the members that hold the rule; None where nobody has said anything,
    which is silent. `said` is who has said what, those whose word does not count left out."""

    standing: Verdict
    strength: Strength
    weight: float
    decided_by: Literal["verifier", "members"] | None
    verdict: dict[Verdict, float] | None
    said: list[MemberWord]


class Standing(TypedDict):
    """How a candidate stands by a contract. `status` is "breached" where a must is broken, "unsure" where none is and
    one is silent, and "kept" where all are kept. `broken` and `silent` are the names of such musts. `score` is how far
    the shoulds are kept (0 to 1): the weighted share of "kept" in what is said of them; None where nothing is said.
    """

    candidate: str
    status: Status
    rules: dict[str, RuleStanding]
    broken: list[str]
    silent: list[str]
    score: float | None


def standing(
    rules: Mapping[str, Rule], ballots: Sequence[Ballot], weights: Mapping[str, float], candidate: str
) -> Standing:
    """How a candidate stands by the rules that apply.

    Args:
        rules: The rules, by name, as `Contract.applying` gives them.
        ballots: Any ballots; those on this candidate's rules count, and of two by the same member on the same rule the
            later one.
        weights: The weight of each member that is no verifier, relative to the others.
        candidate: Its name.

    Returns:
        The standing: JSON-serialisable.

    Raises:
        InputError: A ballot is on a rule that is not there, is no distribution over verdicts, or is a member's without
            a usable weight.
    """
    latest: dict[tuple[str, str, str], Ballot] = {}
    for ballot in ballots:
        if ballot["candidate"] == candidate and ballot["rule"] is not None:
            _check(ballot, rules, weights)
            latest[ballot["rule"], ballot["kind"], ballot["member"]] = ballot
    found = {
        name: _of_rule(rule, [ballot for key, ballot in latest.items() if key[0] == name], weights)
        for name, rule in rules.items()
    }
    musts = {name: each["standing"] for name, each in found.items() if each["strength"] == "must"}
    broken = [name for name, verdict in musts.items() if verdict == "broken"]
    silent = [name for name, verdict in musts.items() if verdict == "silent"]
    return Standing(
        candidate=candidate,
        status="breached" if broken else "unsure" if silent else "kept",
        rules=found,
        broken=broken,
        silent=silent,
        score=_score(found.values()),
    )


def _check(ballot: Ballot, rules: Mapping[str, Rule], weights: Mapping[str, float]) -> None:
    who, rule, verdict = ballot["member"], ballot["rule"], ballot["verdict"]
    if rule not in rules:
        raise InputError(
            f"The ballot of {who} is on the rule {rule}, which the contract does not have; give the rules "
            "that were judged."
        )
    shares = list((verdict or {}).values())
    proper = set(verdict or {}) <= set(VERDICTS) and all(0 <= share <= 1 for share in shares)
    if not proper or not math.isclose(math.fsum(shares), 1, abs_tol=1e-6):
        raise InputError(
            f"The ballot of {who} on the rule {rule} is {verdict}; give probabilities of "
            f"{', '.join(VERDICTS)} that sum to 1."
        )
    if ballot["kind"] != "verifier" and not 0 <= weights.get(who, -1) < math.inf:
        raise InputError(f"The member {who} has given a ballot and has no weight of 0 or more; give it one.")


def _of_rule(rule: Rule, ballots: Sequence[Ballot], weights: Mapping[str, float]) -> RuleStanding:
    verifiers = [each for each in ballots if each["kind"] == "verifier"]
    members = [each for each in ballots if each["kind"] != "verifier" and rule.is_held_by(each["member"])]
    decided_by: Literal["verifier", "members"] | None = None
    verdict: dict[Verdict, float] | None = None
    # A verifier's word is final. Where it cannot decide, it has said none.
    if final := [each for each in verifiers if _word(_shares(each)) != "silent"]:
        decided_by, verdict = "verifier", _shares(final[-1])
    elif (total := math.fsum(weights[each["member"]] for each in members)) > 0:
        shares = [(weights[each["member"]] / total, _shares(each)) for each in members]
        mean = {word: math.fsum(weight * share[word] for weight, share in shares) for word in VERDICTS}
        decided_by, verdict = "members", mean
    return RuleStanding(
        standing="silent" if verdict is None else _word(verdict),
        strength=rule.strength,
        weight=rule.weight,
        decided_by=decided_by,
        verdict=verdict,
        said=[_said(each) for each in (*verifiers, *members)],
    )


def _shares(ballot: Ballot) -> dict[Verdict, float]:
    return {word: (ballot["verdict"] or {}).get(word, 0.0) for word in VERDICTS}


def _word(shares: Mapping[Verdict, float]) -> Verdict:
    return next((word for word in ("kept", "broken") if shares[word] > DECIDED), "silent")


def _said(ballot: Ballot) -> MemberWord:
    return MemberWord(
        member=ballot["member"], kind=ballot["kind"], verdict=_word(_shares(ballot)), reason=ballot["reason"]
    )


def _score(rules: Iterable[RuleStanding]) -> float | None:
    shoulds = [(each["weight"], each["verdict"]) for each in rules if each["strength"] == "should"]
    said = [(weight, verdict) for weight, verdict in shoulds if verdict is not None]
    largest = max((weight for weight, _ in said), default=1.0)  # so that no sum is too large
    kept = math.fsum(weight / largest * verdict["kept"] for weight, verdict in said)
    broken = math.fsum(weight / largest * verdict["broken"] for weight, verdict in said)
    return kept / (kept + broken) if kept + broken > 0 else None


# Repairs

TOLERANCE = 0.05
"""How much a repair may lower the score of the member that is worst off."""


@dataclass(frozen=True)
class Judged:
    """A candidate with its standing, and the score (0 to 1) that each member has given it."""

    standing: Standing
    scores: Mapping[str, float]


def accepts_repair(before: Judged, after: Judged, tolerance: float = TOLERANCE) -> bool:
    """Whether a repaired draft takes the place of the one before; see `refused_repair`."""
    return refused_repair(before, after, tolerance) is None


def refused_repair(before: Judged, after: Judged, tolerance: float = TOLERANCE) -> str | None:
    """Why a repaired draft does not take the place of the one before; None where it does.

    A repair is taken only if it breaks no must that was kept, and leaves the worst-off member no more than `tolerance`
    below the worst-off of before (the egalitarian welfare of section 4.2). It has to mend something, too: fewer musts
    that are broken; or as many, and fewer that are silent; or as many of both, and a higher score of the shoulds.
    Members that have judged one of the two alone do not count.

    Raises:
        InputError: The tolerance is below 0, or no number.
    """
    if not 0 <= tolerance < math.inf:
        raise InputError(f"The tolerance of a repair is {tolerance}; give a number of 0 or more.")
    was, now = before.standing, after.standing
    kept = {name for name, rule in was["rules"].items() if rule["strength"] == "must" and rule["standing"] == "kept"}
    if newly := [name for name in now["broken"] if name in kept]:
        return f"it breaks {', '.join(newly)}, which was kept"
    both = before.scores.keys() & after.scores.keys()
    if both:
        worst, lower = min(before.scores[name] for name in both), min(after.scores[name] for name in both)
        if lower < worst - tolerance:
            return f"the worst-off member falls from {worst:.2f} to {lower:.2f}"
    return None if merit(now) > merit(was) else "it mends nothing"


def merit(found: Standing) -> tuple[int, int, float]:
    """What candidates are compared by: fewer musts that are broken, then fewer that are silent, then the score of the
    shoulds. The best of several is the `max` by it."""
    return -len(found["broken"]), -len(found["silent"]), -1.0 if found["score"] is None else found["score"]
