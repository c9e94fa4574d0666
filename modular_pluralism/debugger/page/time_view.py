"""Time travel: past runs, their steps, forks from a step, and two runs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from modular_pluralism.debugger.history import Step, list_runs, read_run, read_steps
from modular_pluralism.debugger.page.compare_view import show_comparison
from modular_pluralism.debugger.page.elements import (
    attributes,
    box,
    button,
    chip,
    empty,
    field,
    note,
    segments,
    text,
)
from modular_pluralism.debugger.page.fork_form import ForkForm
from modular_pluralism.debugger.page.graph_view import TITLES
from modular_pluralism.debugger.page.run_list import RunList
from modular_pluralism.debugger.page.state_view import show_changes, show_state
from modular_pluralism.debugger.page.words import RUNS
from modular_pluralism.debugger.request import ForkRequest

if TYPE_CHECKING:
    from modular_pluralism.debugger.history import KeptRun
    from modular_pluralism.debugger.page.shell import Tab

_PARTS = {"steps": "Steps", "fork": "Change and run on", "compare": "Compare"}


class TimeView:
    """See View."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._at = -1
        self._steps: list[Step] = []

    async def show(self) -> None:
        """See View."""
        rows = await list_runs(self._tab.desk.store)
        if not rows:
            empty("history", "No run is kept yet", "Start one under Run; every run is kept, and stands here.")
            return
        with box("two times" if self._tab.run else "stack"):
            with attributes(box("card side stack tight", "nav"), **{"aria-label": "Past runs"}):
                text("Past runs", tag="h2")
                RunList(rows, self._tab.run, self._open)
            if self._tab.run:
                kept = await read_run(self._tab.desk.store, self._tab.run)
                self._steps = await read_steps(self._tab.desk.store, self._tab.run)
                self._others = [row for row in rows if row.listed.id != self._tab.run]
                with box("stack"):
                    await self._one(kept)

    def news(self) -> None:
        """See View."""

    async def _open(self, run: str) -> None:
        await self._tab.open(run)
        self._tab.javascript("innerWidth < 900 && document.querySelector('.one-run')?.scrollIntoView()")

    async def _one(self, kept: KeptRun) -> None:
        with box("card stack one-run", "section"):
            with box("line between top"):
                text(kept.listed.question, "said", tag="h1")
                with box("line"):
                    words = RUNS[kept.listed.state]
                    chip(words.word, words.kind, words.icon)
                    chip(kept.setup.mode.capitalize())
            self._ancestry(kept)
            if kept.listed.error:
                note(kept.listed.error, "bad", "error")
            part = "compare" if self._tab.beside else "steps"
            segments("What to do with the run", _PARTS, part, lambda part: self._show_part(part, kept))
        self._body = box("stack")
        await self._fill(part, kept)

    def _ancestry(self, kept: KeptRun) -> None:
        origin = kept.setup.origin
        with box("line small muted"):
            text(kept.listed.id, "mono")
            if origin is None:
                return
            after = "" if origin.step is None else f", after {_title(origin.step, self._steps)}"
            text(f"· a fork of{after}")
            button(origin.run, lambda: self._open(origin.run), icon="call_split", kind="btn small quiet")
            self._beside_parent = origin.run
            button("Compare with it", lambda: self._beside(origin.run), icon="compare_arrows", kind="btn small")

    async def _beside(self, run: str) -> None:
        self._tab.beside = run
        await self._tab.refresh()

    async def _show_part(self, part: str, kept: KeptRun) -> None:
        if part != "compare":
            self._tab.beside = None
        await self._fill(part, kept)

    async def _fill(self, part: str, kept: KeptRun) -> None:
        self._body.clear()
        with self._body:
            if part == "steps":
                self._show_steps(kept)
            elif part == "fork":
                self._show_fork(kept)
            else:
                await self._show_compare(kept)

    # Steps

    def _show_steps(self, kept: KeptRun) -> None:
        if not self._steps:
            note("Nothing of this run was kept: it ended before its first step.", "warn", "warning")
            return
        self._at = len(self._steps) - 1
        with box("walk"):
            with attributes(box("card steps", "section"), **{"aria-label": "Steps of the run"}):
                self._dots = [self._step_button(place, kept) for place in range(len(self._steps))]
            self._state = attributes(box("stack", "section"), role="region", **{"aria-label": "State after the step"})
        self._go(self._at, kept)

    def _step_button(self, place: int, kept: KeptRun) -> Any:
        step = self._steps[place]
        with button("", lambda: self._go(place, kept), kind="step") as made:
            box("dot", "span")
            with box("", "span"):
                text(_title(step.step, self._steps), tag="strong")
                text(_ran(step), "muted small", "div")
        return made

    def _go(self, place: int, kept: KeptRun) -> None:
        self._at = place
        for number, dot in enumerate(self._dots):
            attributes(dot, **{"aria-pressed": "true" if number == place else "false"})
        step = self._steps[place]
        communities = kept.setup.communities
        self._state.clear()
        with self._state:
            with box("card stack"):
                with box("line between"):
                    text(f"What {_title(step.step, self._steps).lower()} changed", tag="h2")
                    button(
                        "Change something and run on from here",
                        lambda: self._show_part("fork", kept),
                        icon="call_split",
                        kind="btn small",
                    )
                if not step.complete:
                    note("The run ended in the midst of this step; this is what had been written.", "warn", "warning")
                show_changes(step.changes, communities)
            with box("card stack"):
                text("The state after it", tag="h2")
                show_state(step.state, communities)

    # Forks

    def _show_fork(self, kept: KeptRun) -> None:
        if self._tab.desk.is_live(kept.listed.id):
            note("The run is still on. It can be changed once it has ended, or been stopped.", "warn", "warning")
            return
        made_of = kept.setup.load(anyway=True)
        broken = kept.listed.state != "finished"
        with box("card stack"):
            with box("stack tight"):
                if broken:
                    note(
                        "The run has no result. Run the fork as it stands to go on with it, or change something first."
                    )
                text("Change what you like; only what depends on it runs again.", tag="h2")
                text(
                    "The run stays as it is; the fork is a run of its own beside it. Texts are changed under Prompts.",
                    "muted",
                )
            form = ForkForm(kept.setup.mode, made_of.pool, kept.state.get("comments") or {})
            froms = {"": "Run again: whatever depends on the changes"}
            froms |= {
                str(step.step): f"Keep everything up to: {_title(step.step, self._steps)}"
                for step in self._steps[1:-1]
                if step.complete
            }
            start = ui.select(froms, value="").props("outlined dense options-dense")
            field("From where", start)

            async def fork() -> None:
                step = int(start.value) if start.value else None
                request = ForkRequest(run=kept.listed.id, step=step, edits=form.edits(or_none=broken))
                await self._tab.open(await self._tab.desk.fork(request), "run")

            with box("btns"):
                button("Run the fork", self._tab.guarded(fork), icon="call_split", kind="btn main")

    # Two runs

    async def _show_compare(self, kept: KeptRun) -> None:
        if not self._others:
            note("There is no other run to compare with yet.")
            return
        origin = kept.setup.origin
        names = {row.listed.id: f"{row.listed.question[:60]} · {row.listed.id}" for row in self._others}
        first = self._tab.beside or (origin.run if origin else self._others[0].listed.id)
        first = first if first in names else next(iter(names))
        with box("card"):
            chosen = ui.select(
                names, value=first, with_input=True, on_change=lambda event: self._beside(str(event.value))
            )
            field("Beside which run", chosen.props("outlined dense options-dense"))
        self._tab.beside = first
        await show_comparison(self._tab.desk.store, first, kept.listed.id)


def _title(number: int, steps: list[Step]) -> str:
    """A step in a user's words."""
    step = next((each for each in steps if each.step == number), None)
    if step is None or number < 0:
        return "The input" if number < 0 else f"Step {number}"
    singles = [TITLES[node] for node in step.nodes if node in TITLES]
    if "check" in step.nodes:
        return "The question is checked"
    if singles:
        return {"Merge": "The merge", "Select": "The selection", "Answer": "The answer", "Pool": "The pooling"}[
            singles[0]
        ]
    return "The comments" if step.nodes else "The start"


def _ran(step: Step) -> str:
    communities = [node for node in step.nodes if node not in TITLES]
    return f"{len(communities)} communities" if communities else step.at[11:19]
