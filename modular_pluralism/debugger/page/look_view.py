"""Look: what came out of a run, and where it comes from."""

from __future__ import annotations

from modular_pluralism.debugger.distributions import SELECTION_NOTE
from modular_pluralism.debugger.history import KeptRun, read_run
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.answer_sources import AnswerSources
from modular_pluralism.debugger.page.distribution_chart import DistributionChart
from modular_pluralism.debugger.page.tab import View
from modular_pluralism.modes import find_mode, shown_answer


class LookView(View):
    """See View."""

    name = "look"
    title = "Look"
    icon = "travel_explore"
    without_run = "Start one under Run, or open one under Time travel, to look into it."

    async def show(self) -> None:
        """See View."""
        assert self._tab.run is not None
        kept = await read_run(self._tab.runs.store, self._tab.run)
        with el.box("stack look"):
            with el.box("card stack tight"):
                with el.box("line between top"):
                    el.text(kept.listed.question, "said", tag="h1")
                    el.chip(find_mode(kept.setup.mode).title)
                if kept.state.get("attribute"):
                    el.text(f"For: {kept.state['attribute']}", "muted")
                if kept.listed.error:
                    el.note(kept.listed.error, "bad", "error")
            if kept.listed.state == "running":
                el.note("The run is still on; look again when it has ended.", "warn", "hourglass_empty")
            else:
                await self._show(kept)

    async def _show(self, kept: KeptRun) -> None:
        if kept.state.get("selected"):
            _selection(kept)
        if kept.state.get("distribution") and kept.state.get("weights"):
            await DistributionChart(kept).show()
        elif kept.state.get("answer"):
            await AnswerSources(kept).show()
        elif kept.state.get("tool_calls"):
            with el.card("The answer calls tools"):
                el.text(shown_answer(kept.state), "said big")
        elif not kept.state.get("selected"):
            el.note(
                "This run has no result to look into. Time travel shows how far it came, and can go on from there.",
                "warn",
            )


def _selection(kept: KeptRun) -> None:
    """The selector's probabilities over the communities."""
    selection = kept.state["selected"]
    selected, mass = selection["community"], selection["mass"]
    probabilities = selection["probabilities"] or {}
    with el.card("Whose comment fits"):
        if not probabilities:
            el.note(SELECTION_NOTE)
            el.text(f"Selected: {selected}")
        else:
            with el.bars():
                for name, share in sorted(probabilities.items(), key=lambda item: -item[1]):
                    with el.box("who pooled" if name == selected else "who"):
                        el.community(name, kept.setup.communities, "span")
                        if name == selected:
                            el.chip("selected", "good", "check")
                    el.meter(share, even=1 / len(probabilities), kind="pooled" if name == selected else "")
            el.text("The dotted line is where every community would be equally likely.", "muted small")
        if mass is not None:
            el.text(
                f"With {el.percent(mass)} the reply is one of the numbers at all; a small share means that the "
                "model was not really choosing.",
                "muted small",
            )
