"""What is said of a choice in words, wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modular_pluralism.societal.tally import Tally
from modular_pluralism.types import Ballot, Candidate


def chosen_in_words(state: Mapping[str, Any]) -> list[str]:
    """Sentences on what an assembly has chosen, from its state: by how many rules it wins, who is worst off with it,
    how sure that is, and what could not be written."""
    tally: Tally | None = state.get("tally")
    candidates: Mapping[str, Candidate] = state.get("candidates") or {}
    if tally is None:
        lines = [f"Only one draft could be written ({_only(candidates)}), so nothing was chosen."]
    else:
        worst = tally["worst_off"]
        lines = [
            wins_in_words(tally),
            *([f"{tally['rule']} leaves {_listed(tally['tied'])} level: the first has won."] if tally["tied"] else []),
            f"Worst off with it: {worst['member']}, at {worst['score']:.2f}.",
        ]
    if uncertainty := state.get("uncertainty"):
        lines.append(f"{uncertainty['words'][0].upper()}{uncertainty['words'][1:]}.")
    lines += [f"Not written: {name} ({each['error']})" for name, each in candidates.items() if each["error"]]
    return lines


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


def _only(candidates: Mapping[str, Candidate]) -> str:
    return next((name for name, each in candidates.items() if each["error"] is None), "none")


def _listed(names: Mapping[str, Any] | list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
