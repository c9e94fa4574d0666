"""The frame of the page: the bar, the views, and which run a browser tab looks at."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from nicegui import context, ui
from nicegui.element import Element

from modular_pluralism.debugger.page.board import Board
from modular_pluralism.debugger.page.desk import Desk
from modular_pluralism.debugger.page.elements import attributes, box, button, chip, note, text
from modular_pluralism.debugger.page.export_view import ExportView
from modular_pluralism.debugger.page.look_view import LookView
from modular_pluralism.debugger.page.prompts_view import PromptsView
from modular_pluralism.debugger.page.run_view import RunView
from modular_pluralism.debugger.page.time_view import TimeView
from modular_pluralism.debugger.page.words import RUNS
from modular_pluralism.debugger.request import RunRequest
from modular_pluralism.errors import PluralismError
from modular_pluralism.runs.run_table import RunTable
from modular_pluralism.runs.setup import Setup

_HERE = Path(__file__).parent
_NEWS = 0.15
"""Seconds between two looks at a run that is on: a fast model says hundreds of tokens a second, which nobody reads."""
_ELSEWHERE = 2.0
"""Seconds between two looks at a run of another process."""
_OF_THE_STORE = ("look", "time", "export")
"""Views of what is kept, which are built anew when the run has ended."""

TITLES = {
    "run": ("Run", "play_circle_outline"),
    "look": ("Look", "travel_explore"),
    "time": ("Time travel", "history"),
    "prompts": ("Prompts", "edit_note"),
    "export": ("Export", "ios_share"),
}


class View(Protocol):
    """What a tab shows below its bar."""

    async def show(self) -> None:
        """Build the view where we stand."""

    def news(self) -> None:
        """Something has happened in the run that the tab looks at."""


class Tab:
    """One browser tab: its view, and the run that it looks at. Nothing of it is shared with other tabs."""

    def __init__(self, desk: Desk, run: str, view: str, beside: str) -> None:
        self.desk = desk
        self.view = view if view in TITLES else "run"
        self.run = run or None
        self.beside = beside or None
        self.board: Board | None = None
        self._seen = -1
        self._unfinished = False
        self._shown: View | None = None
        self._client = context.client
        self._buttons: dict[str, Element] = {}

    def build(self) -> None:
        """The whole page."""
        self._bar()
        self._stage = attributes(box("stage"), id="main", tabindex="-1")
        with self._stage:
            text("Reading the store…", "muted")
        # A page that takes long to come would be given up; this one is there at once and is filled when it has arrived.
        ui.timer(0, self._begin, once=True)

    async def _begin(self) -> None:
        await self._load()
        await self.go(self.view)
        with self._client:
            ui.timer(_NEWS, self._look)
            ui.timer(_ELSEWHERE, self._look_elsewhere)

    async def go(self, view: str) -> None:
        """Show a view."""
        self.view = view
        for name, element in self._buttons.items():
            attributes(element, **{"aria-current": "page" if name == view else None})
        await self.refresh()

    async def refresh(self) -> None:
        """Build the view anew."""
        self._remember()
        self._show_current()
        self._unfinished = self.board is not None and not self.board.done
        self._stage.clear()
        self._shown = _VIEWS[self.view](self)
        with self._stage:
            try:
                await self._shown.show()
            except PluralismError as error:
                note(str(error), "bad", "error")

    async def open(self, run: str, view: str | None = None) -> None:
        """Look at another run."""
        self.run, self.beside = run, None
        await self._load()
        await self.go(view or self.view)
        # What was clicked is gone, and the keyboard would begin at the top again.
        self.javascript(
            "setTimeout(() => document.activeElement === document.body"
            " && document.getElementById('main').focus({preventScroll: true}), 100)"
        )

    async def setup(self) -> Setup | None:
        """What the run was asked and of whom; None where the tab looks at no run."""
        return None if self.run is None else await RunTable(self.desk.store).setup(self.run)

    async def request(self) -> RunRequest | None:
        """What would ask the same again."""
        setup = await self.setup()
        return None if setup is None else request_of(setup)

    def javascript(self, code: str) -> None:
        """Have the browser do something. Views are gone when a click on them leads elsewhere; the tab is not."""
        self._client.run_javascript(code)

    def say(self, words: str, *, bad: bool = False) -> None:
        """A short message that goes away."""
        with self._client:
            ui.notify(
                words,
                type="negative" if bad else "positive",
                position="top",
                multi_line=True,
                timeout=9000 if bad else 3500,
                close_button="Close" if bad else False,
            )

    def guarded(self, doing: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """What is done on a click, with its errors shown."""

        async def run() -> None:
            try:
                await doing()
            except PluralismError as error:
                self.say(str(error), bad=True)

        return run

    async def _load(self) -> None:
        self.board, self._seen = None, -1
        if self.run is None:
            return
        try:
            self.board = await self.desk.board(self.run)
        except PluralismError as error:
            self.run = None
            self.say(str(error), bad=True)

    async def _look(self) -> None:
        """Show what has happened since the last look, and let clocks run."""
        if self.board is None or self._shown is None:
            return
        if self._unfinished and self.board.done and self.view in _OF_THE_STORE:
            await self.refresh()
            return
        if self.board.version != self._seen or not self.board.done:
            fresh = self.board.version != self._seen
            self._seen = self.board.version
            if fresh:
                self._show_current()
            self._shown.news()

    async def _look_elsewhere(self) -> None:
        """A run that is on in another process tells us nothing; the store has what it keeps."""
        if self.run is None or self.board is None or self.board.done or self.desk.is_live(self.run):
            return
        with suppress(PluralismError):
            self.board, self._seen = await self.desk.board(self.run), -1

    def _remember(self) -> None:
        """The address says what is shown, so that it can be reloaded, kept and opened in another tab."""
        parts = {"view": self.view, "run": self.run, "beside": self.beside}
        query = "&".join(f"{key}={value}" for key, value in parts.items() if value)
        self.javascript(f"history.replaceState(null, '', {json.dumps('?' + query)})")

    def _bar(self) -> None:
        attributes(text("Skip to the content", "skip", "a"), href="#main")
        with box("bar", "header"):
            with box("brand"):
                with attributes(ui.element("svg"), viewBox="0 0 32 32", **{"aria-hidden": "true"}):
                    _mark()
                text("Modular Pluralism", "words", "span")
            with attributes(box("nav", "nav"), **{"aria-label": "Views"}):
                for name, (words, icon) in TITLES.items():
                    self._buttons[name] = button(words, self._goer(name), icon=icon, kind="")
            box("grow")
            self._current = box("current")
            self._theme = button("", self._turn_theme, icon="contrast", kind="btn quiet theme", label="Colours")

    def _goer(self, view: str) -> Callable[[], Awaitable[None]]:
        return lambda: self.go(view)

    def _turn_theme(self) -> None:
        self.javascript("pluralismTheme.turn()")

    def _show_current(self) -> None:
        self._current.clear()
        if self.board is None:
            return
        words = RUNS.get(self.board.state, RUNS["stopped"])
        with self._current:
            chip(words.word, words.kind, words.icon)
            attributes(text(self.board.run, "name"), title=self.board.run)


_VIEWS: dict[str, Callable[[Tab], View]] = {
    "run": RunView,
    "look": LookView,
    "time": TimeView,
    "prompts": PromptsView,
    "export": ExportView,
}


async def show_page(desk: Desk, *, run: str, view: str, beside: str) -> None:
    """Build the page for a browser tab that has just opened it."""
    ui.add_css((_HERE / "page.css").read_text(encoding="utf-8"))
    ui.add_body_html(f"<script>{(_HERE / 'page.js').read_text(encoding='utf-8')}</script>")
    Tab(desk, run, view, beside).build()


def request_of(setup: Setup) -> RunRequest:
    """The request that asks what a run was asked."""
    return RunRequest(
        question=setup.asked["question"],
        mode=setup.mode,
        pool=setup.pool,
        attribute=setup.asked.get("attribute"),
        options=setup.asked.get("options"),
        scoring=setup.scoring,
        voice=setup.voice,
        seed=setup.asked.get("seed") or 0,
        prompts=setup.prompts,
    )


def _mark() -> None:
    """The icon, as elements."""
    attributes(ui.element("rect"), width=32, height=32, rx=8, fill="#3d4f8f")
    lines = "M16 16 8 8M16 16l8-8M16 16l-8 8M16 16l8 8"
    attributes(ui.element("path"), d=lines, stroke="#fff", **{"stroke-opacity": ".7", "stroke-width": "1.6"})
    for x, y, r, fill in (
        (16, 16, 4, "#fff"),
        (8, 8, 3, "#f2c14e"),
        (24, 8, 3, "#7fc8a9"),
        (8, 24, 3, "#f08a6b"),
        (24, 24, 3, "#9db8f5"),
    ):
        attributes(ui.element("circle"), cx=x, cy=y, r=r, fill=fill)
