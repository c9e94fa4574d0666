"""Two runs side by side, with what differs marked."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.debugger.compare import (
    Comparison,
    DistributionComparison,
    TextComparison,
    compare_runs,
)
from modular_pluralism.debugger.history import KeptRun, read_run
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.words import RUNS
from modular_pluralism.runs.run_store import RunStore


async def show_comparison(store: RunStore, one: str, other: str) -> None:
    """Show the run `one` at the left of `other`. Raises PluralismError where one of them cannot be read."""
    left, right = await read_run(store, one), await read_run(store, other)
    comparison = compare_runs(left, right)
    communities = list(dict.fromkeys([*left.setup.communities, *right.setup.communities]))
    with el.box("pair heads"):
        _head(left, "Left")
        _head(right, "Right")
    with el.box("legend muted"):
        for words, tag in (("only at the left", "del"), ("only at the right", "ins")):
            with el.box():
                el.text(words, tag=tag)
    if comparison.settings:
        with el.card("Settings that differ", "stack tight"):
            for setting in comparison.settings:
                with el.box("stack tight setting"):
                    el.text(setting.key, tag="h3")
                    with el.box("pair versus"):
                        el.text(el.plain(setting.before), "said small")
                        el.text(el.plain(setting.after), "said small")
    if comparison.answer.one or comparison.answer.other:
        _text(comparison.answer, "Answer", communities)
    if comparison.pooled:
        _distribution(comparison.pooled, "Pooled distribution", communities)
    _all_distributions(comparison.distributions, communities)
    _all_comments(comparison, communities)


def _head(run: KeptRun, side: str) -> None:
    with el.box("card stack tight"):
        with el.box("line between"):
            el.text(side, "muted small")
            el.chip(*RUNS[run.listed.state])
        el.text(run.listed.question, tag="h3")
        el.text(run.listed.id, "mono muted")


def _all_comments(comparison: Comparison, communities: Sequence[str]) -> None:
    for comment in comparison.comments:
        if not comment.same:
            _text(comment, comment.name, communities)
    same = [comment for comment in comparison.comments if comment.same]
    if same:
        with el.box("card"), el.more(f"{len(same)} comments are the same in both"), el.box("stack tight"):
            for comment in same:
                with el.box("line"):
                    el.community(comment.name, communities, "h2")
                el.text(comment.one or "", "said small")


def _text(compared: TextComparison, title: str, communities: Sequence[str]) -> None:
    with el.box("card stack tight"):
        with el.box("line"):
            el.community(title, communities, "h2")
            if compared.same:
                el.chip("the same in both", "good", "check")
        with el.box("pair versus"):
            _side(compared, compared.one, "removed", "del")
            _side(compared, compared.other, "added", "ins")


def _side(compared: TextComparison, whole: str | None, kind: str, tag: str) -> None:
    with el.box("said"):
        if whole is None:
            el.text("There is none.", "muted")
        for span in compared.spans if whole is not None else []:
            if span.kind == "same":
                el.text(span.text, tag="span")
            elif span.kind == kind:
                el.text(span.text, tag=tag)


def _all_distributions(distributions: Sequence[DistributionComparison], communities: Sequence[str]) -> None:
    differ = [compared for compared in distributions if compared.one != compared.other]
    for compared in differ:
        _distribution(compared, compared.name, communities)
    if len(differ) < len(distributions):
        el.note(f"{len(distributions) - len(differ)} communities have the same distribution in both.", "good", "check")


def _distribution(compared: DistributionComparison, title: str, communities: Sequence[str]) -> None:
    with el.box("card stack tight"):
        with el.box("line between"):
            with el.box("line"):
                el.community(title, communities, "h2")
            if compared.distance is not None:
                el.text(f"JS distance {compared.distance:.3f} (0 is equal, 0.833 the most there is)", "muted small")
        with el.box("pair versus"):
            for shares in (compared.one, compared.other):
                with el.box("stack tight"):
                    if shares is None:
                        el.text("There is none.", "muted")
                    for index, share in enumerate(shares or []):
                        el.text(compared.options[index] if compared.options else f"Option {index + 1}", "small")
                        el.meter(share, even=1 / len(shares or [1]))
