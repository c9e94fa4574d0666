"""Look: what came out of a run, and where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modular_pluralism.debugger.distributions import describe_selection
from modular_pluralism.debugger.history import KeptRun, read_run
from modular_pluralism.debugger.page.answer_sources import AnswerSources
from modular_pluralism.debugger.page.distribution_chart import DistributionChart
from modular_pluralism.debugger.page.elements import box, chip, empty, note, percent, tag_of, text
from modular_pluralism.debugger.page.meters import meter

if TYPE_CHECKING:
    from modular_pluralism.debugger.page.shell import Tab


class LookView:
    """See View."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    async def show(self) -> None:
        """See View."""
        if self._tab.run is None:
            empty(
                "travel_explore",
                "No run is open",
                "Start one under Run, or open one under Time travel, to look into it.",
            )
            return
        kept = await read_run(self._tab.desk.store, self._tab.run)
        with box("stack look"):
            with box("card stack tight"):
                with box("line between top"):
                    text(kept.listed.question, "said", tag="h1")
                    chip(kept.setup.mode.capitalize())
                if kept.state.get("attribute"):
                    text(f"For: {kept.state['attribute']}", "muted")
                if kept.listed.error:
                    note(kept.listed.error, "bad", "error")
            if kept.listed.state == "running":
                note("The run is still on; look again when it has ended.", "warn", "hourglass_empty")
            else:
                await self._show(kept)

    def news(self) -> None:
        """See View."""

    async def _show(self, kept: KeptRun) -> None:
        if kept.state.get("selected"):
            _selection(kept)
        if kept.setup.mode == "distributional" and kept.state.get("distribution"):
            await DistributionChart(self._tab, kept).show()
        elif kept.state.get("answer"):
            await AnswerSources(self._tab, kept).show()
        elif not kept.state.get("selected"):
            note(
                "This run has no result to look into. Time travel shows how far it came, and can go on from there.",
                "warn",
            )


def _selection(kept: KeptRun) -> None:
    """The selector's probabilities over the communities."""
    found = describe_selection(kept.state)
    with box("card stack"):
        text("Whose comment fits", tag="h2")
        if found.note:
            note(found.note)
        probabilities = found.probabilities or {}
        if probabilities:
            with box("dist").style("grid-template-columns: minmax(120px, max-content) 1fr"):
                for name, share in sorted(probabilities.items(), key=lambda each: -each[1]):
                    with box("who pooled" if name == found.selected else "who"):
                        if name in kept.setup.communities:
                            tag_of(kept.setup.communities.index(name), name)
                        text(name, tag="span")
                        if name == found.selected:
                            chip("selected", "good", "check")
                    meter(share, even=1 / len(probabilities), pooled=name == found.selected)
            text("The dotted line is where every community would be equally likely.", "muted small")
        else:
            text(f"Selected: {found.selected}")
        if found.mass is not None:
            text(
                f"With {percent(found.mass)} the reply is one of the numbers at all; a small share means that the "
                "model was not really choosing.",
                "muted small",
            )
