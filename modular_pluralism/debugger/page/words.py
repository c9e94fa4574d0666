"""What the page calls the states of boxes and runs, with an icon, so that no colour is the only sign."""

from __future__ import annotations

from typing import NamedTuple


class Word(NamedTuple):
    """A state's word, icon and colour."""

    word: str
    icon: str
    kind: str


STATES: dict[str, Word] = {
    "waiting": Word("waiting", "schedule", ""),
    "started": Word("working", "more_horiz", "run"),
    "speaking": Word("speaking", "graphic_eq", "run"),
    "scoring": Word("scoring", "balance", "run"),
    "finished": Word("done", "check_circle", "good"),
    "failed": Word("failed", "error", "bad"),
    "reused": Word("kept", "push_pin", "kept"),
    "edited": Word("edited", "edit", "kept"),
    "stopped": Word("stopped", "stop_circle", "warn"),
    "skipped": Word("not needed", "remove_circle_outline", ""),
}

RUNS: dict[str, Word] = {
    "running": Word("running", "graphic_eq", "run"),
    "finished": Word("finished", "check_circle", "good"),
    "failed": Word("failed", "error", "bad"),
    "stopped": Word("stopped", "stop_circle", "warn"),
}
