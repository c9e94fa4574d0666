"""The runs of the store, a page of them at a time, with a field to find one."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from nicegui import ui

from modular_pluralism.debugger.history import RunRow
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.words import RUNS

_AT_ONCE = 40


class RunList:
    """The list; a click on a run calls `on_open` with its name."""

    def __init__(self, runs: Sequence[RunRow], current: str | None, on_open: Callable[[str], Awaitable[None]]) -> None:
        self._runs = list(runs)
        self._matching = self._runs
        self._current = current
        self._on_open = on_open
        self._page = self._page_of(current)
        search = ui.input(
            placeholder="a word of its question, or its name", on_change=lambda event: self._search(event.value)
        )
        el.field("Find a run", search.props("clearable debounce=200"))
        self._rows = el.box("rows", "div", role="list", label="Runs, the newest first")
        self._pager = el.box("line between pager")
        self._show()

    def _page_of(self, run: str | None) -> int:
        return next((index // _AT_ONCE for index, row in enumerate(self._runs) if row.listed.id == run), 0)

    def _search(self, words: str | None) -> None:
        wanted = (words or "").casefold().split()
        self._matching = [
            row
            for row in self._runs
            if all(word in f"{row.listed.question} {row.listed.id} {row.listed.mode}".casefold() for word in wanted)
        ]
        self._page = 0
        self._show()

    def _turn(self, pages: int) -> None:
        self._page += pages
        self._show()

    def _show(self) -> None:
        first = self._page * _AT_ONCE
        with el.refilled(self._rows):
            for row in self._matching[first : first + _AT_ONCE]:
                with el.box(role="listitem"):
                    self._row(row)
            if not self._matching:
                el.text("No run of that kind is kept.", "muted")
        pages = math.ceil(len(self._matching) / _AT_ONCE)
        with el.refilled(self._pager):
            last = min(first + _AT_ONCE, len(self._matching))
            shown = (
                f"{el.number(first + 1)}–{el.number(last)} of {el.number(len(self._matching))}"
                if self._matching
                else "0 runs"
            )
            el.text(shown, "muted small", role="status")
            if pages > 1:
                with el.box("btns"):
                    back = el.button(
                        "", lambda: self._turn(-1), icon="chevron_left", kind="btn small", label="Newer runs"
                    )
                    on = el.button(
                        "", lambda: self._turn(1), icon="chevron_right", kind="btn small", label="Older runs"
                    )
                    el.enable(back, self._page > 0)
                    el.enable(on, self._page < pages - 1)

    def _row(self, row: RunRow) -> None:
        listed = row.listed
        current = listed.id == self._current
        with el.button(
            "",
            lambda: self._on_open(listed.id),
            kind="row-run on" if current else "row-run",
            title=listed.id,
            **{"aria-current": "true" if current else None},
        ):
            el.text(listed.question, "q", "span")
            with el.box("line small muted", "span"):
                el.chip(*RUNS[listed.state])
                if row.origin:
                    el.chip("fork", "kept", "call_split")
                el.text(listed.mode.capitalize(), tag="span")
                el.text(_when(listed.created), tag="span")


def _when(seconds: float) -> str:
    made = datetime.fromtimestamp(seconds).astimezone()
    return (
        made.strftime("%H:%M") if made.date() == datetime.now().astimezone().date() else made.strftime("%d %b %Y %H:%M")
    )
