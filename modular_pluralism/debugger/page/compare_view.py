"""Two runs side by side, with what differs marked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from modular_pluralism.debugger.compare import (
    Comparison,
    DistributionComparison,
    TextComparison,
    compare_runs,
)
from modular_pluralism.debugger.history import KeptRun, read_run
from modular_pluralism.debugger.page.elements import box, chip, more, note, tag_of, text
from modular_pluralism.debugger.page.meters import meter
from modular_pluralism.debugger.page.words import RUNS
from modular_pluralism.runs.run_store import RunStore


async def show_comparison(store: RunStore, one: str, other: str) -> None:
    """Show the run `one` at the left of `other`. Raises PluralismError where one of them cannot be read."""
    left, right = await read_run(store, one), await read_run(store, other)
    found = compare_runs(left, right)
    communities = list(dict.fromkeys([*left.setup.communities, *right.setup.communities]))
    with box("pair heads"):
        _head(left, "Left")
        _head(right, "Right")
    _legend()
    if found.settings:
        with box("card stack tight"):
            text("Settings that differ", tag="h2")
            for each in found.settings:
                with box("stack tight setting"):
                    text(each.name, tag="h3")
                    with box("pair versus"):
                        text(_plain(each.one), "said small")
                        text(_plain(each.other), "said small")
    if found.answer.one or found.answer.other:
        _text(found.answer, "Answer", communities)
    for pooled in [found.pooled] if found.pooled else []:
        _distribution(pooled, "Pooled distribution", communities)
    _all_distributions(found.distributions, communities)
    _all_comments(found, communities)


def _head(run: KeptRun, side: str) -> None:
    words = RUNS[run.listed.state]
    with box("card stack tight"):
        with box("line between"):
            text(side, "muted small")
            chip(words.word, words.kind, words.icon)
        text(run.listed.question, tag="h3")
        text(run.listed.id, "mono muted")


def _legend() -> None:
    with box("legend muted"):
        with box():
            text("only at the left", tag="del")
        with box():
            text("only at the right", tag="ins")


def _all_comments(found: Comparison, communities: Sequence[str]) -> None:
    for each in found.comments:
        if not each.same:
            _text(each, each.name, communities)
    same = [each for each in found.comments if each.same]
    if same:
        with box("card"), more(f"{len(same)} comments are the same in both"), box("stack tight"):
            for each in same:
                with box("line"):
                    _community(each.name, communities)
                text(each.one or "", "said small")


def _text(each: TextComparison, title: str, communities: Sequence[str]) -> None:
    with box("card stack tight"):
        with box("line"):
            _community(title, communities)
            if each.same:
                chip("the same in both", "good", "check")
        with box("pair versus"):
            _side(each, each.one, "removed", "del")
            _side(each, each.other, "added", "ins")


def _side(each: TextComparison, whole: str | None, kind: str, tag: str) -> None:
    with box("said"):
        if whole is None:
            text("There is none.", "muted")
        for piece in each.pieces if whole is not None else []:
            if piece.kind == "same":
                text(piece.text, tag="span")
            elif piece.kind == kind:
                text(piece.text, tag=tag)


def _all_distributions(found: Sequence[DistributionComparison], communities: Sequence[str]) -> None:
    differ = [each for each in found if each.one != each.other]
    for each in differ:
        _distribution(each, each.name, communities)
    if found and len(differ) < len(found):
        note(f"{len(found) - len(differ)} communities have the same distribution in both.", "good", "check")


def _distribution(each: DistributionComparison, title: str, communities: Sequence[str]) -> None:
    with box("card stack tight"):
        with box("line between"):
            with box("line"):
                _community(title, communities)
            if each.distance is not None:
                text(f"JS distance {each.distance:.3f} (0 is equal, 0.833 the most there is)", "muted small")
        with box("pair versus"):
            for shares in (each.one, each.other):
                with box("stack tight"):
                    if shares is None:
                        text("There is none.", "muted")
                    for place, share in enumerate(shares or []):
                        text(each.options[place] if each.options else f"Option {place + 1}", "small")
                        meter(share, even=1 / len(shares or [1]))


def _community(name: str, communities: Sequence[str]) -> None:
    if name in communities:
        tag_of(list(communities).index(name), name)
    text(name, tag="h2")


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
