"""Assembly: the run waits for people, who accept, ballot, weigh and contest (after section 6 of Stańczak et al., arXiv
2503.00069). Nothing expensive is in it, since LangGraph runs the node anew when it resumes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from langgraph.types import interrupt

from modular_pluralism.errors import InputError
from modular_pluralism.nodes.draft import written_candidates
from modular_pluralism.nodes.noted import plain_update
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.nodes.submissions import Known, ballots_of_persons, checked_submissions
from modular_pluralism.nodes.under_contract import VERIFY, rules_of


@step_maker()
def hear(*, drafts: Sequence[str], communities: Sequence[str]) -> Body:
    """Step that writes `submissions`, `ballots` of the persons among them, and `weights` that they have changed.

    It interrupts the run with what is to be read, and a `version` of that. The run is resumed with a mapping of that
    `version` and the list of `submissions`. What is none is told in `error`, and the run goes on waiting.
    """

    def step(state: State) -> Update:
        told = minutes_to_hear(state, drafts)
        taken = (*communities, VERIFY)
        known = Known(written_candidates(state, drafts), communities, rules_of(state), taken)
        error: str | None = None
        while True:
            given = interrupt(told if error is None else {**told, "error": error})
            try:
                submissions = checked_submissions(given, told["version"], known)
                break
            except InputError as refused:
                error = str(refused)
        weights = {each["member"]: each["weight"] for each in submissions if each["kind"] == "weigh"}
        return {
            "submissions": submissions,
            "ballots": ballots_of_persons(submissions),
            "weights": weights or None,
        }

    return step


def minutes_to_hear(state: State, drafts: Sequence[str]) -> dict[str, Any]:
    """What people read before they submit, and the `version` of it."""
    told = plain_update(
        {
            "question": state["question"],
            "answer": state["answer"],
            "candidate": state["candidate"],
            "candidates": written_candidates(state, drafts),
            "tally": state.get("tally"),
            "uncertainty": state.get("uncertainty"),
            "standing": state.get("standing"),
            "contract": state.get("contract"),
        }
    )
    digest = blake2b(json.dumps(told, sort_keys=True).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return {**told, "version": digest}
