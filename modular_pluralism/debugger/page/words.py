"""What the page calls the states of boxes and runs, with an icon, so that no colour is the only sign."""

from __future__ import annotations

from typing import NamedTuple


class StateLabel(NamedTuple):
    """A state's word, colour and icon, as `chip` takes them."""

    word: str
    kind: str
    icon: str


STATES: dict[str, StateLabel] = {
    "waiting": StateLabel("waiting", "", "schedule"),
    "started": StateLabel("working", "run", "more_horiz"),
    "speaking": StateLabel("speaking", "run", "graphic_eq"),
    "scoring": StateLabel("scoring", "run", "balance"),
    "finished": StateLabel("done", "good", "check_circle"),
    "failed": StateLabel("failed", "bad", "error"),
    "reused": StateLabel("kept", "kept", "push_pin"),
    "edited": StateLabel("edited", "kept", "edit"),
    "stopped": StateLabel("stopped", "warn", "stop_circle"),
    "skipped": StateLabel("not needed", "", "remove_circle_outline"),
}

RUNS: dict[str, StateLabel] = {
    "running": StateLabel("running", "run", "graphic_eq"),
    "finished": StateLabel("finished", "good", "check_circle"),
    "failed": StateLabel("failed", "bad", "error"),
    "stopped": StateLabel("stopped", "warn", "stop_circle"),
}


class _RoleWords(NamedTuple):
    title: str
    icon: str
    step: str


_ROLES = {
    "check": _RoleWords("Question", "help_outline", "The question is checked"),
    "comment": _RoleWords("Comment", "chat", "The comments"),
    "vote": _RoleWords("Vote", "how_to_vote", "The votes"),
    "record": _RoleWords("Record", "menu_book", "The records"),
    "merge": _RoleWords("Merge", "merge_type", "The merge"),
    "select": _RoleWords("Select", "checklist", "The selection"),
    "respond": _RoleWords("Answer", "chat_bubble_outline", "The answer"),
    "aggregate": _RoleWords("Pool", "bar_chart", "The pooling"),
}


def role_words(role: str) -> _RoleWords:
    """The title and the icon of a box for a node with this role, and what a superstep of such nodes is called."""
    return _ROLES.get(role, _RoleWords(role.capitalize(), "circle", role.capitalize()))
