"""Who has answered, who is missing, and whether that is enough to go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from modular_pluralism.errors import QuorumError
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.types import Comment


class Attendance(NamedTuple):
    """The communities that answered and their comments, in the pool's order, and the names of the others. A community
    that has only voted has no comment."""

    names: list[str]
    comments: list[Comment]
    missing: list[str]


def attendance(state: State, communities: Sequence[str], quorum: int) -> Attendance:
    """Who of `communities` has answered, by a comment or a vote.

    Raises:
        QuorumError: fewer than `quorum` have; the message says who is missing and why.
    """
    said: dict[str, Comment] = state.get("comments") or {}
    names = [
        name
        for name in communities
        if (said[name]["error"] is None if name in said else name in (state.get("distributions") or {}))
    ]
    missing = [name for name in communities if name not in names]
    if len(names) < quorum:
        reasons = " ".join(f"{name}: {said[name]['error'] if name in said else 'never asked.'}" for name in missing)
        raise QuorumError(
            f"{len(names)} of {len(communities)} communities answered, and the quorum is {quorum}. {reasons}"
        )
    return Attendance(names, [said[name] for name in names if name in said], missing)


@step_maker()
def attend(*, communities: Sequence[str], quorum: int) -> Body:
    """Step that writes `missing`, where the comments are the result."""

    def step(state: State) -> Update:
        return {"missing": attendance(state, communities, quorum).missing}

    return step
