"""What a step knows of the contract that a run is under: its rules, and the draft that is being mended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from modular_pluralism.nodes.noted import plain_update
from modular_pluralism.nodes.step import State
from modular_pluralism.societal.contract import Contract
from modular_pluralism.societal.rule import Rule
from modular_pluralism.types import Ballot, Repair

VERIFY = "verify"
"""Under which name the ballots of verifiers stand in a state; a community cannot be called so, since a node is."""


def rules_of(state: State) -> dict[str, Rule]:
    """The rules that hold for the question, by name; none without a contract.

    Raises:
        ContractError: the contract in the state is none.
    """
    given: Mapping[str, Any] | None = state.get("contract")
    return {} if given is None else Contract.from_data(plain_update(given)).applying(state.get("attribute"))


def pending_repair(state: State) -> Repair | None:
    """The repair that has been written and is not decided yet."""
    repairs: Sequence[Repair] = state.get("repairs") or []
    return repairs[-1] if repairs and repairs[-1]["accepted"] is None else None


def unjudged(state: State, texts: Mapping[str, str]) -> dict[str, str]:
    """Those candidates that are to be judged now: all at first, and later the one that has just been mended."""
    repair = pending_repair(state)
    if repair is None:
        return dict(texts)
    return {name: text for name, text in texts.items() if name == repair["candidate"]}


def ballots_before(state: State, member: str) -> list[Ballot]:
    """What a member has said in an earlier round; nothing in the first."""
    if pending_repair(state) is None:
        return []
    return [cast(Ballot, dict(ballot)) for ballot in (state.get("ballots") or {}).get(member) or ()]


def decided_by_verifier(state: State) -> set[tuple[str, str]]:
    """The candidates and rules of which a verifier has decided, whose word is final."""
    ballots: Sequence[Ballot] = (state.get("ballots") or {}).get(VERIFY) or ()
    return {
        (ballot["candidate"], ballot["rule"])
        for ballot in ballots
        if ballot["rule"] is not None and (ballot["verdict"] or {}).get("silent", 0.0) < 1
    }
