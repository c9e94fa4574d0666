"""One browser tab: its bar, the view that it shows, and the run that it looks at."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import ClassVar

from nicegui import context, ui
from nicegui.element import Element

from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.live_runs import LiveRuns
from modular_pluralism.debugger.page.progress import RunProgress
from modular_pluralism.debugger.page.words import RUNS
from modular_pluralism.errors import PluralismError
from modular_pluralism.runs.run_table import RunTable
from modular_pluralism.runs.setup import Setup

_POLL_SECONDS = 0.15
"""Seconds between two looks at a run that is on: a fast model says hundreds of tokens a second, which nobody reads."""
_OTHER_PROCESS_POLL_SECONDS = 2.0
"""Seconds between two looks at a run of another process."""


class View(ABC):
    """What a tab shows below its bar; `name` stands in the address. A view `of_the_store` shows what is kept, and is
    built anew when the run has ended. `without_run` is what a view says instead of being shown where no run is open."""

    name: ClassVar[str]
    title: ClassVar[str]
    icon: ClassVar[str]
    of_the_store: ClassVar[bool] = True
    without_run: ClassVar[str] = ""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    @abstractmethod
    async def show(self) -> None:
        """Build the view where we stand."""

    def update(self) -> None:  # noqa: B027
        """Something has happened in the run that the tab looks at."""


class Tab:
    """One browser tab with its `views`, of which the first is shown first. Nothing of it is shared with other tabs."""

    def __init__(self, runs: LiveRuns, views: Sequence[type[View]], run: str, view: str, beside: str) -> None:
        self.runs = runs
        self.run = run or None
        self.beside = beside or None
        self.progress: RunProgress | None = None
        self._views = {view.name: view for view in views}
        self._view = view if view in self._views else views[0].name
        self._seen = -1
        self._unfinished = False
        self._shown: View | None = None
        self._client = context.client
        self._buttons: dict[str, Element] = {}

    def build(self) -> None:
        """The whole page."""
        self._bar()
        self._stage = el.box("stage", id="main", tabindex="-1")
        with self._stage:
            el.text("Reading the store…", "muted")
        # A page that takes long to come would be given up; this one is there at once and is filled when it has arrived.
        ui.timer(0, self._begin, once=True)

    async def go(self, view: str) -> None:
        """Show a view."""
        self._view = view
        for name, element in self._buttons.items():
            el.attributes(element, **{"aria-current": "page" if name == view else None})
        await self.refresh()

    async def refresh(self) -> None:
        """Build the view anew."""
        self._remember()
        self._show_current()
        self._unfinished = self.progress is not None and not self.progress.done
        view = self._shown = self._views[self._view](self)
        with el.refilled(self._stage):
            try:
                if self.run is None and view.without_run:
                    el.empty(view.icon, "No run is open", view.without_run)
                else:
                    await view.show()
            except PluralismError as error:
                el.note(str(error), "bad", "error")

    async def open(self, run: str, view: str | None = None) -> None:
        """Look at another run."""
        self.run, self.beside = run, None
        await self._load()
        await self.go(view or self._view)
        # What was clicked is gone, and the keyboard would begin at the top again.
        self.javascript(
            "setTimeout(() => document.activeElement === document.body"
            " && document.getElementById('main').focus({preventScroll: true}), 100)"
        )

    async def setup(self) -> Setup | None:
        """What the run was asked and of whom; None where the tab looks at no run."""
        return None if self.run is None else await RunTable(self.runs.store).setup(self.run)

    def javascript(self, code: str) -> None:
        """Have the browser do something. Views are gone when a click on them leads elsewhere; the tab is not."""
        self._client.run_javascript(code)

    async def _begin(self) -> None:
        await self._load()
        await self.go(self._view)
        with self._client:
            ui.timer(_POLL_SECONDS, self._look)
            ui.timer(_OTHER_PROCESS_POLL_SECONDS, self._look_elsewhere)

    async def _load(self) -> None:
        self.progress, self._seen = None, -1
        if self.run is None:
            return
        try:
            self.progress = await self.runs.progress(self.run)
        except PluralismError as error:
            self.run = None
            el.notify(str(error), bad=True)

    async def _look(self) -> None:
        """Show what has happened since the last look, and let clocks run."""
        if self.progress is None or self._shown is None:
            return
        if self._unfinished and self.progress.done and self._shown.of_the_store:
            await self.refresh()
            return
        fresh = self.progress.version != self._seen
        if fresh or not self.progress.done:
            self._seen = self.progress.version
            if fresh:
                self._show_current()
            self._shown.update()

    async def _look_elsewhere(self) -> None:
        """A run that is on in another process tells us nothing; the store has what it keeps."""
        if self.run is None or self.progress is None or self.progress.done or self.runs.is_live(self.run):
            return
        with suppress(PluralismError):
            self.progress, self._seen = await self.runs.progress(self.run), -1

    def _remember(self) -> None:
        """The address says what is shown, so that it can be reloaded, kept and opened in another tab."""
        parts = {"view": self._view, "run": self.run, "beside": self.beside}
        query = "&".join(f"{key}={value}" for key, value in parts.items() if value)
        self.javascript(f"history.replaceState(null, '', {json.dumps('?' + query)})")

    def _bar(self) -> None:
        el.text("Skip to the content", "skip", "a", href="#main")
        with el.box("bar", "header"):
            with el.box("brand"):
                el.box("", "img", src=f"data:image/svg+xml;base64,{b64encode(el.ICON.encode()).decode()}", alt="")
                el.text("Modular Pluralism", "words", "span")
            with el.box("nav", "nav", label="Views"):
                for name, view in self._views.items():
                    self._buttons[name] = el.button(view.title, partial(self.go, name), icon=view.icon, kind="")
            el.box("grow")
            self._current = el.box("current")
            turn = partial(self.javascript, "pluralismTheme.turn()")
            el.button("", turn, icon="contrast", kind="btn quiet theme", label="Colours")

    def _show_current(self) -> None:
        with el.refilled(self._current):
            if self.progress is not None:
                el.chip(*RUNS[self.progress.state])
                el.text(self.progress.run, "name", title=self.progress.run)
