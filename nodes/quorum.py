"""Who has answered, who is missing, and whether that is enough to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from modular_pluralism.errors import InputError, QuorumError
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
        InputError: what stands in a comment's place is none.
    """
    said: Mapping[str, Comment] = state.get("comments") or {}
    for name in communities:
        if name in said:
            check_comment(name, said[name])
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


def selected_comment(state: State) -> Comment | None:
    """The comment of the community that is selected, where one is.

    Raises:
        QuorumError: that community has failed.
        InputError: what stands in the selection's place is none.
    """
    selected: Any = state.get("selected")
    if selected is None:
        return None
    name = selected.get("community") if isinstance(selected, Mapping) else None
    if not isinstance(name, str) or name not in (state.get("comments") or {}):
        raise InputError(
            f"The state's `selected` names {name!r}, of whom there is no comment; write it with the `community` of "
            "one, or ask anew."
        )
    return attendance(state, [name], 1).comments[0]


def check_comment(name: str, said: Any) -> None:
    """Raise InputError unless this is the community's comment: people may edit a state."""
    parts = [said.get(key) for key in ("community", "text", "error")] if isinstance(said, Mapping) else []
    if parts[:1] != [name] or not isinstance(parts[1], str) or not (parts[2] is None or isinstance(parts[2], str)):
        raise InputError(
            f"The comment of {name} in the state is none; write it with the `community` {name!r}, a `text`, and an "
            "`error` that is None or a reason, or ask anew."
        )


@step_maker()
def attend(*, communities: Sequence[str], quorum: int) -> Body:
    """Step that writes `missing`, where the comments are the result."""

    def step(state: State) -> Update:
        return {"missing": attendance(state, communities, quorum).missing}

    return step
