"""Export: a run as a page, as JSON, and as Python that runs the same again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from nicegui import ui

from modular_pluralism.debugger.export import run_as_html, run_as_json
from modular_pluralism.debugger.page.elements import attributes, box, button, empty, text
from modular_pluralism.debugger.snippet import run_as_python
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.runs.run_table import RunTable

if TYPE_CHECKING:
    from modular_pluralism.debugger.page.shell import Tab


class ExportView:
    """See View."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    async def show(self) -> None:
        """See View."""
        setup = await self._tab.setup()
        if setup is None or self._tab.run is None:
            empty(
                "ios_share",
                "No run is open",
                "Start one under Run, or open one under Time travel, to take it with you.",
            )
            return
        listed = await RunTable(self._tab.desk.store).get(self._tab.run)
        with box("stack"):
            with box("card stack tight"):
                text(listed.question, "said", tag="h1")
                text("Take the run with you. The files hold what was asked and said, and no key.", "muted")
            with box("pair"):
                self._file(
                    "A page",
                    "One HTML file that opens without a server and needs no network: the graph's steps, every comment, "
                    "every prompt, and what came out.",
                    "html",
                    run_as_html,
                )
                self._file(
                    "JSON",
                    "The same as data: the setup, the state, the steps and the model calls, for programs.",
                    "json",
                    run_as_json,
                )
            snippet = run_as_python(self._tab.run, setup)
            with box("card stack tight"):
                with box("line between"):
                    text("Python", tag="h2")
                    with box("btns"):
                        button("Copy", lambda: self._copy(snippet), icon="content_copy", kind="btn small")
                        button(
                            "Download",
                            lambda: self._send(snippet, "py", "text/x-python"),
                            icon="download",
                            kind="btn small",
                        )
                text("Runs the same again; with a repeatable model, the answer is the same, too.", "muted")
                attributes(text(snippet, "raw", "pre"), tabindex="0", role="region", **{"aria-label": "Python snippet"})

    def news(self) -> None:
        """See View."""

    def _file(self, title: str, words: str, ending: str, make: Callable[[RunStore, str], Awaitable[str]]) -> None:
        async def download() -> None:
            assert self._tab.run is not None
            self._send(await make(self._tab.desk.store, self._tab.run), ending, f"text/{ending}")

        with box("card stack tight"):
            text(title, tag="h2")
            text(words, "muted")
            with box("btns"):
                button(
                    f"Download {title if title == 'JSON' else 'the page'}",
                    self._tab.guarded(download),
                    icon="download",
                    kind="btn main",
                )

    def _copy(self, snippet: str) -> None:
        ui.clipboard.write(snippet)
        self._tab.say("Copied.")

    def _send(self, content: str, ending: str, kind: str) -> None:
        ui.download.content(content, f"{self._tab.run}.{ending}", kind)
