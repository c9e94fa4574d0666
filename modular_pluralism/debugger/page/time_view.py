"""Time travel: past runs, their steps, forks from a step, and two runs side by side."""

from __future__ import annotations

from functools import partial

from nicegui import ui
from nicegui.element import Element

from modular_pluralism.debugger.fork import ForkRequest
from modular_pluralism.debugger.history import Superstep, list_runs, read_run
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.compare_view import show_comparison
from modular_pluralism.debugger.page.fork_form import ForkForm
from modular_pluralism.debugger.page.progress import box_of
from modular_pluralism.debugger.page.run_list import RunList
from modular_pluralism.debugger.page.state_view import show_changes, show_state
from modular_pluralism.debugger.page.tab import View
from modular_pluralism.debugger.page.words import RUNS, role_words
from modular_pluralism.modes import find_mode
from modular_pluralism.runs.edits import Origin

_PARTS = {"steps": "Steps", "fork": "Change and run on", "compare": "Compare"}


class TimeView(View):
    """See View."""

    name = "time"
    title = "Time travel"
    icon = "history"

    async def show(self) -> None:
        """See View."""
        rows = await list_runs(self._tab.runs.store)
        if not rows:
            el.empty(self.icon, "No run is kept yet", "Start one under Run; every run is kept, and stands here.")
            return
        with el.box("two times" if self._tab.run else "stack"):
            with el.box("card side stack tight", "nav", label="Past runs"):
                el.text("Past runs", tag="h2")
                RunList(rows, self._tab.run, self._open)
            if self._tab.run:
                self._kept = await read_run(self._tab.runs.store, self._tab.run)
                self._others = [row.listed for row in rows if row.listed.id != self._tab.run]
                with el.box("stack"):
                    await self._one()

    async def _open(self, run: str) -> None:
        await self._tab.open(run)
        self._tab.javascript("innerWidth < 900 && document.querySelector('.one-run')?.scrollIntoView()")

    async def _one(self) -> None:
        listed = self._kept.listed
        with el.box("card stack one-run", "section"):
            with el.box("line between top"):
                el.text(listed.question, "said", tag="h1")
                with el.box("line"):
                    el.chip(*RUNS[listed.state])
                    el.chip(find_mode(self._kept.setup.mode).title)
            with el.box("line small muted"):
                el.text(listed.id, "mono")
                if self._kept.setup.origin is not None:
                    self._origin(self._kept.setup.origin)
            if listed.error:
                el.note(listed.error, "bad", "error")
            part = "compare" if self._tab.beside else "steps"
            el.segments("What to do with the run", _PARTS, part, self._show_part)
        self._body = el.box("stack")
        await self._show_part(part)

    def _origin(self, origin: Origin) -> None:
        after = "" if origin.step is None else f", after {self._title(origin.step)}"
        el.text(f"· a fork of{after}")
        el.button(origin.run, partial(self._open, origin.run), icon="call_split", kind="btn small quiet")
        beside = partial(self._beside, origin.run)
        el.button("Compare with it", beside, icon="compare_arrows", kind="btn small")

    async def _beside(self, run: str) -> None:
        self._tab.beside = run
        await self._tab.refresh()

    async def _show_part(self, part: str) -> None:
        with el.refilled(self._body):
            if part == "compare":
                await self._show_compare()
                return
            self._tab.beside = None
            if part == "steps":
                self._show_steps()
            else:
                self._show_fork()

    # Steps

    def _show_steps(self) -> None:
        steps = self._kept.steps
        if not steps:
            el.note("Nothing of this run was kept: it ended before its first step.", "warn", "warning")
            return
        with el.box("walk"):
            with el.box("card steps", "section", label="Steps of the run"):
                self._dots = [self._step_button(index, step) for index, step in enumerate(steps)]
            self._state = el.box("stack", "section", role="region", label="State after the step")
        self._go(len(steps) - 1)

    def _step_button(self, index: int, step: Superstep) -> Element:
        with el.button("", lambda: self._go(index), kind="step") as made:
            el.box("dot", "span")
            with el.box("", "span"):
                communities = len({box_of(node) for node in step.nodes} & {*self._kept.setup.communities})
                el.text(self._title(step.step), tag="strong")
                el.text(f"{communities} communities" if communities else step.at[11:19], "muted small", "div")
        return made

    def _go(self, index: int) -> None:
        for each, dot in enumerate(self._dots):
            el.attributes(dot, **{"aria-pressed": "true" if each == index else "false"})
        step, communities = self._kept.steps[index], self._kept.setup.communities
        with el.refilled(self._state):
            with el.box("card stack"):
                with el.box("line between"):
                    el.text(f"What {self._title(step.step).lower()} changed", tag="h2")
                    fork = partial(self._show_part, "fork")
                    el.button("Change something and run on from here", fork, icon="call_split", kind="btn small")
                if not step.complete:
                    el.note(
                        "The run ended in the midst of this step; this is what had been written.", "warn", "warning"
                    )
                show_changes(step.changes, communities)
            with el.card("The state after it"):
                show_state(step.state, communities)

    # Forks

    def _show_fork(self) -> None:
        kept = self._kept
        if self._tab.runs.is_live(kept.listed.id):
            el.note("The run is still on. It can be changed once it has ended, or been stopped.", "warn", "warning")
            return
        made_of = kept.setup.load(anyway=True)
        broken = kept.listed.state != "finished"
        with el.box("card stack"):
            with el.box("stack tight"):
                if broken:
                    el.note(
                        "The run has no result. Run the fork as it stands to go on with it, or change something first."
                    )
                el.text("Change what you like; only what depends on it runs again.", tag="h2")
                el.text(
                    "The run stays as it is; the fork is a run of its own beside it. Texts are changed under Prompts.",
                    "muted",
                )
            weighted = find_mode(kept.setup.mode).result == "distribution"
            form = ForkForm(made_of.pool, kept.state.get("comments") or {}, weighted=weighted)
            froms = {"": "Run again: whatever depends on the changes"}
            froms |= {
                str(step.step): f"Keep everything up to: {self._title(step.step)}"
                for step in kept.steps[1:-1]
                if step.complete
            }
            start = el.field("From where", ui.select(froms, value=""))

            async def fork() -> None:
                step = int(start.value) if start.value else None
                request = ForkRequest(run=kept.listed.id, step=step, edits=form.edits(or_none=broken))
                await self._tab.open(await self._tab.runs.fork(request), "run")

            with el.box("btns"):
                el.button("Run the fork", fork, icon="call_split", kind="btn main")

    # Two runs

    async def _show_compare(self) -> None:
        if not self._others:
            el.note("There is no other run to compare with yet.")
            return
        origin = self._kept.setup.origin
        names = {listed.id: f"{listed.question[:60]} · {listed.id}" for listed in self._others}
        first = self._tab.beside or (origin.run if origin else "")
        first = self._tab.beside = first if first in names else next(iter(names))
        with el.box("card"):
            chosen = el.field("Beside which run", ui.select(names, value=first, with_input=True))
            chosen.on_value_change(lambda event: self._beside(str(event.value)))
        await show_comparison(self._tab.runs.store, first, self._kept.listed.id)

    def _title(self, number: int) -> str:
        """A step in a user's words."""
        if number < 0:
            return "The input"
        step = next((step for step in self._kept.steps if step.step == number), None)
        if step is None:
            return f"Step {number}"
        roles = {node.id: node.role for node in self._kept.nodes}
        titles = [role_words(roles.get(node, node)).step for node in step.nodes if "/" not in node]
        return titles[0] if titles else "The start"
