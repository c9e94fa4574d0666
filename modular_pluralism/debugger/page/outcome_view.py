"""What came out of a run, in short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modular_pluralism.debugger.page.elements import box, chip, facts, note, percent, tag_of, text
from modular_pluralism.debugger.page.meters import meter
from modular_pluralism.types import Mode


def show_outcome(
    state: Mapping[str, Any], mode: Mode, communities: Sequence[str], ended: str, error: str | None
) -> None:
    """The answer, the choice or the distribution; or why there is none."""
    text("Answer" if mode != "distributional" else "Pooled distribution", tag="h2")
    if error:
        note(error, "bad", "error")
    elif ended == "stopped":
        note(
            "The run was stopped before its answer. What was said so far is kept; Time travel can go on from it.",
            "warn",
        )
    if state.get("missing"):
        note(f"No comment from: {', '.join(state['missing'])}.", "warn", "warning")
    selected = state.get("selected")
    if selected:
        with box("line"):
            text("Steered by", "muted")
            name = selected["community"]
            if name in communities:
                tag_of(list(communities).index(name), name)
            text(name, tag="strong")
            if selected["probability"] is not None:
                chip(percent(selected["probability"]))
    if state.get("choice"):
        facts([("Choice", str(state["choice"]))])
    if state.get("answer"):
        text(str(state["answer"]), "said big")
        if (state.get("usage") or {}).get("finish_reason") == "length":
            note("The answer was cut off at its token limit.", "warn", "content_cut")
    shares = state.get("distribution")
    shares = shares["probabilities"] if isinstance(shares, Mapping) else shares
    if shares and state.get("options"):
        with box("dist").style("grid-template-columns: minmax(80px, max-content) minmax(0, 1fr)"):
            for option, share in zip(state["options"], shares, strict=False):
                text(option, "who")
                meter(share, even=1 / len(shares), pooled=True)
        text("The dotted line is where every option would be equally likely.", "muted small")
