"""A run's state, and what a step changed of it, in readable form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modular_pluralism.debugger.history import Change
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.evidence_list import show_evidence
from modular_pluralism.graphs.state import BY_COMMUNITY
from modular_pluralism.modes import shown_answer

_NAMES = {"missing": "Without a comment", "usage": "Cost of the answer", "selected": "Selected community"}
"""What keys of the state are called, where it is not their own name."""


def show_changes(changes: Sequence[Change], communities: Sequence[str]) -> None:
    """Every value that was written, and what stood there before."""
    if not changes:
        el.text("Nothing: it only checked what it was given.", "muted")
    for change in changes:
        kind, word = _kind(change)
        with el.box(f"change {kind}"):
            with el.box("line"):
                _name(change.key, communities)
                el.text(word, "muted small", "span")
            if kind == "other":
                el.text(el.plain(change.before), "said small", "del")
            if change.after is not None:
                _value(change.key, change.after)


def show_state(state: Mapping[str, Any], communities: Sequence[str]) -> None:
    """Every value of a state."""
    with el.box("values"):
        for key, value in state.items():
            if value in (None, {}, []):
                continue
            if key in BY_COMMUNITY:
                for name, each in value.items():
                    _entry(f"{key}.{name}", each, communities)
            else:
                _entry(key, value, communities, wide=key in ("question", "answer"))


def _entry(key: str, value: Any, communities: Sequence[str], *, wide: bool = False) -> None:
    name = key.partition(".")[2]
    with el.box("change wide" if wide else "change hued" if name in communities else "change") as made:
        with el.box("line"):
            _name(key, communities)
        _value(key, value)
    if name in communities:
        made.style(el.hue(list(communities).index(name)))


def _kind(change: Change) -> tuple[str, str]:
    if change.before in (None, {}, []):
        return "new", "new"
    return ("gone", "taken away") if change.after is None else ("other", "changed")


def _name(key: str, communities: Sequence[str]) -> None:
    group, _, name = key.partition(".")
    if name in communities:
        el.community(name, communities)
        el.text(group.removesuffix("s"), "muted small", "span")
    else:
        el.text(_NAMES.get(group, group.replace("_", " ").capitalize()), tag="h3")


def _value(key: str, value: Any) -> None:
    if key.startswith("comments.") and isinstance(value, Mapping):
        said = str(value.get("error") or value.get("text", ""))
        el.text(said, "said", tabindex="0", role="region", label=f"Comment of {value.get('community')}")
        el.reasoning(value.get("reasoning"))
        show_evidence(value.get("evidence"))
    elif key.startswith(("distributions.", "votes.")) and isinstance(value, Mapping):
        el.text(" · ".join(el.percent(share) for share in value.get("probabilities", [])), "mono")
    elif key == "selected" and isinstance(value, Mapping):
        el.text(f"{value.get('community')} ({el.percent(value.get('probability'))})", "said")
    elif key == "tool_calls":
        el.text(shown_answer({key: value}), "said")
    elif key == "usage" and isinstance(value, Mapping):
        spent = el.seconds(value.get("seconds") or 0.0)
        el.text(f"{value.get('completion_tokens')} tokens, {spent}{_cut(value)}")
    else:
        el.text(el.plain(value), "said")


def _cut(usage: Mapping[str, Any]) -> str:
    return ", cut off at its limit" if usage.get("finish_reason") == "length" else ""
