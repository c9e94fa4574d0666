"""Time travel: past runs, their steps, forks from a step, and two runs side by side."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from modular_pluralism.debugger.fork import ForkRequest
from modular_pluralism.debugger.history import KeptRun, Superstep, list_runs, read_run
from modular_pluralism.debugger.page.compare_view import show_comparison
from modular_pluralism.debugger.page.elements import (
    attributes,
    box,
    button,
    card,
    chip,
    empty,
    field,
    note,
    refilled,
    segments,
    text,
)
from modular_pluralism.debugger.page.fork_form import ForkForm
from modular_pluralism.debugger.page.progress import box_of
from modular_pluralism.debugger.page.run_list import RunList
from modular_pluralism.debugger.page.state_view import show_changes, show_state
from modular_pluralism.debugger.page.tab import Tab, View
from modular_pluralism.debugger.page.words import RUNS, role_words
from modular_pluralism.modes import find_mode

_PARTS = {"steps": "Steps", "fork": "Change and run on", "compare": "Compare"}


class TimeView(View):
    """See View."""

    name = "time"
    title = "Time travel"
    icon = "history"

    def __init__(self, tab: Tab) -> None:
        super().__init__(tab)
        self._steps: list[Superstep] = []

    async def show(self) -> None:
        """See View."""
        rows = await list_runs(self._tab.runs.store)
        if not rows:
            empty(self.icon, "No run is kept yet", "Start one under Run; every run is kept, and stands here.")
            return
        with box("two times" if self._tab.run else "stack"):
            with attributes(box("card side stack tight", "nav"), **{"aria-label": "Past runs"}):
                text("Past runs", tag="h2")
                RunList(rows, self._tab.run, self._open)
            if self._tab.run:
                kept = await read_run(self._tab.runs.store, self._tab.run)
                self._steps = kept.steps
                self._roles = {node.id: node.role for node in kept.nodes}
                self._others = [row for row in rows if row.listed.id != self._tab.run]
                with box("stack"):
                    await self._one(kept)

    async def _open(self, run: str) -> None:
        await self._tab.open(run)
        self._tab.javascript("innerWidth < 900 && document.querySelector('.one-run')?.scrollIntoView()")

    async def _one(self, kept: KeptRun) -> None:
        with box("card stack one-run", "section"):
            with box("line between top"):
                text(kept.listed.question, "said", tag="h1")
                with box("line"):
                    chip(*RUNS[kept.listed.state])
                    chip(find_mode(kept.setup.mode).title)
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
            after = "" if origin.step is None else f", after {self._title(origin.step)}"
            text(f"· a fork of{after}")
            button(origin.run, lambda: self._open(origin.run), icon="call_split", kind="btn small quiet")
            button("Compare with it", lambda: self._beside(origin.run), icon="compare_arrows", kind="btn small")

    async def _beside(self, run: str) -> None:
        self._tab.beside = run
        await self._tab.refresh()

    async def _show_part(self, part: str, kept: KeptRun) -> None:
        if part != "compare":
            self._tab.beside = None
        await self._fill(part, kept)

    async def _fill(self, part: str, kept: KeptRun) -> None:
        with refilled(self._body):
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
        with box("walk"):
            with attributes(box("card steps", "section"), **{"aria-label": "Steps of the run"}):
                self._dots = [self._step_button(index, kept) for index in range(len(self._steps))]
            self._state = attributes(box("stack", "section"), role="region", **{"aria-label": "State after the step"})
        self._go(len(self._steps) - 1, kept)

    def _step_button(self, index: int, kept: KeptRun) -> Any:
        step = self._steps[index]
        with button("", lambda: self._go(index, kept), kind="step") as made:
            box("dot", "span")
            with box("", "span"):
                communities = len({box_of(node) for node in step.nodes} & {*kept.setup.communities})
                text(self._title(step.step), tag="strong")
                text(f"{communities} communities" if communities else step.at[11:19], "muted small", "div")
        return made

    def _go(self, index: int, kept: KeptRun) -> None:
        for each, dot in enumerate(self._dots):
            attributes(dot, **{"aria-pressed": "true" if each == index else "false"})
        step = self._steps[index]
        communities = kept.setup.communities
        with refilled(self._state):
            with box("card stack"):
                with box("line between"):
                    text(f"What {self._title(step.step).lower()} changed", tag="h2")
                    button(
                        "Change something and run on from here",
                        lambda: self._show_part("fork", kept),
                        icon="call_split",
                        kind="btn small",
                    )
                if not step.complete:
                    note("The run ended in the midst of this step; this is what had been written.", "warn", "warning")
                show_changes(step.changes, communities)
            with card("The state after it"):
                show_state(step.state, communities)

    # Forks

    def _show_fork(self, kept: KeptRun) -> None:
        if self._tab.runs.is_live(kept.listed.id):
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
            weighted = find_mode(kept.setup.mode).result == "distribution"
            form = ForkForm(made_of.pool, kept.state.get("comments") or {}, weighted=weighted)
            froms = {"": "Run again: whatever depends on the changes"}
            froms |= {
                str(step.step): f"Keep everything up to: {self._title(step.step)}"
                for step in self._steps[1:-1]
                if step.complete
            }
            start = ui.select(froms, value="")
            field("From where", start)

            async def fork() -> None:
                step = int(start.value) if start.value else None
                request = ForkRequest(run=kept.listed.id, step=step, edits=form.edits(or_none=broken))
                await self._tab.open(await self._tab.runs.fork(request), "run")

            with box("btns"):
                button("Run the fork", fork, icon="call_split", kind="btn main")

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
            field("Beside which run", chosen)
        self._tab.beside = first
        await show_comparison(self._tab.runs.store, first, kept.listed.id)

    def _title(self, number: int) -> str:
        """A step in a user's words."""
        if number < 0:
            return "The input"
        step = next((each for each in self._steps if each.step == number), None)
        if step is None:
            return f"Step {number}"
        titles = [role_words(self._roles.get(node, node)).step for node in step.nodes if "/" not in node]
        return titles[0] if titles else "The start"
