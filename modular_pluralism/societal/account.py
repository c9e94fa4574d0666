"""What is said of a choice in words, wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modular_pluralism.societal.standing import RuleStanding, Standing
from modular_pluralism.societal.tally import Tally
from modular_pluralism.types import Ballot, Candidate, Repair


def chosen_in_words(state: Mapping[str, Any]) -> list[str]:
    """Sentences on what an assembly has chosen, from its state: by how many rules it wins, who is worst off with it,
    how sure that is, how it stands by a contract, and what could not be written."""
    tally: Tally | None = state.get("tally")
    candidates: Mapping[str, Candidate] = state.get("candidates") or {}
    if tally is None:
        lines = [_nothing_to_choose(state, candidates)]
    else:
        worst = tally["worst_off"]
        lines = [
            wins_in_words(tally),
            *([f"{tally['rule']} leaves {_listed(tally['tied'])} level: the first has won."] if tally["tied"] else []),
            f"Worst off with it: {worst['member']}, at {worst['score']:.2f}.",
        ]
    if uncertainty := state.get("uncertainty"):
        lines.append(f"{uncertainty['words'][0].upper()}{uncertainty['words'][1:]}.")
    lines += _under_contract(state)
    lines += [_submitted(each) for each in state.get("submissions") or ()]
    lines += [f"Not written: {name} ({each['error']})" for name, each in candidates.items() if each["error"]]
    return lines


def _nothing_to_choose(state: Mapping[str, Any], candidates: Mapping[str, Candidate]) -> str:
    name = state.get("candidate")
    if sum(each["error"] is None for each in candidates.values()) < 2:
        return f"Only one draft could be written ({name}), so nothing was chosen."
    return f"One draft breaks fewer musts of the contract than all others ({name}), so nothing was chosen."


def _under_contract(state: Mapping[str, Any]) -> list[str]:
    """How the answer stands by the contract, and what came of its repairs."""
    standings: Mapping[str, Standing] | None = state.get("standing")
    if standings is None:
        return []
    standing = standings.get(state.get("candidate") or "")
    if standing is None:
        return ["No rule of the contract is for this question."]
    repairs: Sequence[Repair] = state.get("repairs") or []
    if standing["status"] == "breached":
        lines = [f"Breached: the answer breaks {_listed(standing['broken'])}, and no draft breaks fewer musts."]
    elif standing["status"] == "unsure":
        lines = [f"Unsure: whether the answer keeps {_listed(standing['silent'])} is not known; no must is broken."]
    else:
        lines = ["Kept: the answer keeps every must of the contract."]
    for repair in repairs:
        outcome = "accepted" if repair["accepted"] else f"not accepted, since {repair['why']}"
        lines.append(f"Repair {repair['candidate']} of {repair['of']}: {outcome}.")
    return lines


def _submitted(each: Mapping[str, Any]) -> str:
    """What a person has submitted to the hearing."""
    who = each["who"]
    match each["kind"]:
        case "accept":
            return f"{who} accepts the answer."
        case "ballot":
            return f"{who} gives {each['candidate']} {each['score']:.2f}."
        case "weigh":
            return f"{who} gives {each['member']} the weight {each['weight']:g}."
    what = f"the rule {each['rule']}" if each["rule"] is not None else f"the comment of {each['comment']}"
    return f"{who} contests {what}: {each['reason']}"


def rules_in_words(state: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """The rules that the answer was held against: their names, their strengths, how it stands by each, and who says
    so."""
    standing: Standing | None = (state.get("standing") or {}).get(state.get("candidate"))
    return [] if standing is None else [(name, *_stands(rule)) for name, rule in standing["rules"].items()]


def _stands(rule: RuleStanding) -> tuple[str, str, str]:
    by = [f"{said['member']}: {said['reason'] or said['verdict']}" for said in rule["said"]]
    return rule["strength"], rule["standing"], "; ".join(by) or "nobody has judged it"


def wins_in_words(tally: Tally) -> str:
    """Under how many rules the winner wins, and who wins under the others."""
    by_winner: dict[str, list[str]] = {}
    for rule, name in tally["winners"].items():
        by_winner.setdefault(name, []).append(rule)
    winner = tally["winner"]
    own = len(by_winner.pop(winner, []))
    others = "; ".join(f"{name} by {_listed(rules)}" for name, rules in by_winner.items())
    said = f"Chosen by {tally['rule']}: {winner}, which wins by {own} of {len(tally['winners'])} rules"
    return f"{said}; {others}." if others else f"{said}."


def notes_on_ballots(state: Mapping[str, Any]) -> list[str]:
    """What has to be known of single ballots before they are trusted, each once, with whose they are."""
    said: dict[str, dict[str, None]] = {}
    for member, reason in _reasons(state.get("ballots") or {}):
        said.setdefault(reason, {})[member] = None
    return [f"{_listed(members)}: {reason}" for reason, members in said.items()]


def _reasons(ballots: Mapping[str, list[Ballot]]) -> Iterator[tuple[str, str]]:
    for member, given in ballots.items():
        for ballot in given:
            if ballot["kind"] == "community" and ballot["rule"] is None and ballot["reason"]:
                yield member, ballot["reason"]


def _listed(names: Mapping[str, Any] | list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
