"""How candidates stand by a contract, and which repairs are taken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import InputError
from modular_pluralism.societal.rule import Rule
from modular_pluralism.societal.standing import (
    VERDICTS,
    Judged,
    Standing,
    accepts_repair,
    merit,
    refused_repair,
    standing,
)
from modular_pluralism.types import Ballot, MemberKind, Verdict

MUST, SHOULD = Rule(text="Be kind.", strength="must"), Rule(text="Be short.")
WEIGHTS = {"farmers": 3.0, "townspeople": 1.0, "ada": 1.0}
PREFIX: dict[str, Any] = {"candidate": "merge", "score": None, "label_mass": None, "spread": None, "when": None}


def ballot(
    member: str, rule: str, verdict: Verdict | dict[Verdict, float], kind: MemberKind = "community", **other: Any
) -> Ballot:
    shares = verdict if isinstance(verdict, dict) else {verdict: 1.0}
    made: Any = {**PREFIX, "member": member, "kind": kind, "rule": rule, "verdict": shares, "reason": None, **other}
    whole: Ballot = made
    return whole


def stand(rules: dict[str, Rule], *ballots: Ballot) -> Standing:
    return standing(rules, ballots, WEIGHTS, "merge")


def test_the_verdict_is_the_weighted_mean_of_those_who_hold_the_rule() -> None:
    held = Rule(text="Be kind.", strength="must", held_by=["farmers", "townspeople"])
    found = stand(
        {"kind": held},
        ballot("farmers", "kind", {"kept": 0.8, "broken": 0.2}),
        ballot("townspeople", "kind", "broken"),
        ballot("ada", "kind", "broken", "person"),
    )
    rule = found["rules"]["kind"]
    assert rule["verdict"] == pytest.approx({"kept": 0.6, "broken": 0.4, "silent": 0.0})
    assert (rule["standing"], rule["decided_by"], found["status"]) == ("kept", "members", "kept")
    assert [each["member"] for each in rule["said"]] == ["farmers", "townspeople"]
    assert json.loads(json.dumps(found)) == found


def test_an_even_split_is_silent_and_unsure() -> None:
    found = stand({"kind": MUST}, ballot("townspeople", "kind", "kept"), ballot("ada", "kind", "broken", "person"))
    assert (found["rules"]["kind"]["standing"], found["status"], found["silent"]) == ("silent", "unsure", ["kind"])


def test_a_rule_of_which_nobody_says_anything_is_silent() -> None:
    found = stand({"kind": MUST, "short": SHOULD})
    assert (found["status"], found["score"], found["rules"]["kind"]["verdict"]) == ("unsure", None, None)


def test_a_verifiers_word_is_final_unless_it_has_none() -> None:
    members = [ballot(name, "kind", "kept") for name in ("farmers", "townspeople")]
    broken = ballot("words", "kind", "broken", "verifier", reason="128 words; at most 120")
    found = stand({"kind": MUST}, broken, *members)
    assert (found["status"], found["broken"]) == ("breached", ["kind"])
    assert found["rules"]["kind"]["decided_by"] == "verifier"
    assert found["rules"]["kind"]["said"][0]["reason"] == "128 words; at most 120"
    silent = ballot("language", "kind", "silent", "verifier")
    assert stand({"kind": MUST}, silent, *members)["status"] == "kept"
    assert stand({"kind": MUST}, silent)["status"] == "unsure"


def test_of_two_ballots_of_a_member_the_later_one_counts() -> None:
    said = [ballot("ada", "kind", "broken", "person"), ballot("ada", "kind", "kept", "person")]
    assert stand({"kind": MUST}, *said)["status"] == "kept"
    assert stand({"kind": MUST}, *reversed(said))["status"] == "breached"


def test_ballots_on_candidates_and_of_other_candidates_do_not_count() -> None:
    other = ballot("farmers", "kind", "broken", candidate="base")
    scored: Any = {**ballot("farmers", "kind", "kept"), "rule": None, "verdict": None, "score": 0.3}
    assert stand({"kind": MUST}, other, scored)["rules"]["kind"]["said"] == []


def test_members_without_weight_decide_nothing() -> None:
    found = standing({"kind": MUST}, [ballot("ada", "kind", "kept", "person")], {"ada": 0.0}, "merge")
    assert found["status"] == "unsure"


def test_the_score_weighs_the_shoulds() -> None:
    rules = {"short": SHOULD, "plain": Rule(text="Be plain.", weight=3.0), "unheard": Rule(text="Be wise.", weight=9.0)}
    said = [ballot("ada", "short", "kept", "person"), ballot("ada", "plain", "broken", "person")]
    assert stand(rules, *said)["score"] == 0.25
    # What is silent on a rule says nothing of it, in either direction.
    unsure = ballot("ada", "plain", {"kept": 0.1, "broken": 0.1, "silent": 0.8}, "person")
    assert stand(rules, said[0], unsure)["score"] == pytest.approx(1.3 / 1.6)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (ballot("ada", "other", "kept", "person"), "on the rule other, which the contract does not have"),
        (ballot("ada", "kind", {"kept": 0.9}, "person"), "that sum to 1"),
        (ballot("ada", "kind", {"kept": 1.5, "broken": -0.5}, "person"), "give probabilities"),
        (ballot("ada", "kind", {"kept": float("nan")}, "person"), "give probabilities"),
        (ballot("bob", "kind", "kept", "person"), "The member bob has given a ballot and has no weight"),
    ],
)
def test_a_ballot_that_cannot_be_counted_is_told(wrong: Ballot, told: str) -> None:
    with pytest.raises(InputError, match=told):
        stand({"kind": MUST}, wrong)


def judged(kind: Verdict, short: Verdict, **scores: float) -> Judged:
    rules = {"kind": MUST, "fair": Rule(text="Be fair.", strength="must"), "short": SHOULD}
    said = [ballot("ada", name, verdict, "person") for name, verdict in (("kind", kind), ("fair", "kept"))]
    return Judged(stand(rules, *said, ballot("ada", "short", short, "person")), scores)


def test_a_repair_that_mends_a_must_is_taken() -> None:
    before = judged("broken", "kept", farmers=0.5, townspeople=0.3)
    assert accepts_repair(before, judged("kept", "broken", farmers=0.2501, townspeople=0.9))
    assert accepts_repair(before, judged("silent", "kept", farmers=0.5))


def test_a_repair_that_breaks_a_kept_must_is_not() -> None:
    before = judged("kept", "broken", farmers=0.5)
    assert refused_repair(before, judged("broken", "kept", farmers=0.9)) == "it breaks kind, which was kept"


def test_a_repair_at_the_cost_of_the_worst_off_is_not() -> None:
    before, after = judged("broken", "kept", farmers=0.5, ada=0.3), judged("kept", "kept", farmers=0.9, ada=0.24)
    assert refused_repair(before, after) == "the worst-off member falls from 0.30 to 0.24"
    assert accepts_repair(before, after, tolerance=0.1)
    # Who has judged one of the two alone tells nothing of a change.
    assert accepts_repair(before, judged("kept", "kept", farmers=0.9, new=0.0))


def test_a_repair_that_mends_nothing_is_not_taken() -> None:
    assert refused_repair(judged("kept", "kept"), judged("kept", "kept")) == "it mends nothing"
    assert accepts_repair(judged("kept", "broken"), judged("kept", "kept"))


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_is_a_number_of_0_or_more(tolerance: float) -> None:
    with pytest.raises(InputError, match="tolerance of a repair"):
        accepts_repair(judged("kept", "kept"), judged("kept", "kept"), tolerance)


Verdicts = st.sampled_from(VERDICTS)


@given(st.lists(st.tuples(st.sampled_from(sorted(WEIGHTS)), Verdicts), max_size=6), st.sampled_from(["must", "should"]))
def test_nothing_that_is_not_kept_passes_for_kept(said: list[tuple[str, Verdict]], strength: Any) -> None:
    found = stand({"kind": Rule(text="x", strength=strength)}, *(ballot(name, "kind", word) for name, word in said))
    rule = found["rules"]["kind"]
    last = dict(said)
    kept = sum(WEIGHTS[name] for name, word in last.items() if word == "kept")
    assert (rule["standing"] == "kept") == (bool(last) and kept / sum(WEIGHTS[name] for name in last) > 0.5)
    if strength == "must":
        assert found["status"] == {"kept": "kept", "broken": "breached", "silent": "unsure"}[rule["standing"]]
    else:
        assert found["status"] == "kept"


@given(Verdicts, Verdicts, Verdicts, Verdicts)
def test_a_taken_repair_is_better_and_cannot_be_taken_back(a: Verdict, b: Verdict, c: Verdict, d: Verdict) -> None:
    before, after = judged(a, b, ada=0.5), judged(c, d, ada=0.5)
    if accepts_repair(before, after):
        assert merit(after.standing) > merit(before.standing)
        assert not accepts_repair(after, before)
