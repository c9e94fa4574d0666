"""Export: a run as a page, as JSON, and as Python that runs the same again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui

from modular_pluralism.debugger.export import run_as_html, run_as_json
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.tab import View
from modular_pluralism.debugger.snippet import run_as_python
from modular_pluralism.runs.run_store import RunStore

_PAGE = (
    "One HTML file that opens without a server and needs no network: the graph's steps, every comment, every prompt, "
    "and what came out."
)
_JSON = "The same as data: the setup, the state, the steps and the model calls, for programs."


class ExportView(View):
    """See View."""

    name = "export"
    title = "Export"
    icon = "ios_share"
    without_run = "Start one under Run, or open one under Time travel, to take it with you."

    async def show(self) -> None:
        """See View."""
        setup = await self._tab.setup()
        assert setup is not None
        assert self._tab.run is not None
        snippet = run_as_python(self._tab.run, setup)
        with el.box("stack"):
            with el.box("card stack tight"):
                el.text(setup.asked["question"], "said", tag="h1")
                el.text("Take the run with you. The files hold what was asked and said, and no key.", "muted")
            with el.box("pair"):
                self._file("A page", "Download the page", _PAGE, "html", run_as_html)
                self._file("JSON", "Download JSON", _JSON, "json", run_as_json)
            with el.box("card stack tight"):
                with el.box("line between"):
                    el.text("Python", tag="h2")
                    with el.box("btns"):
                        el.button("Copy", lambda: self._copy(snippet), icon="content_copy", kind="btn small")
                        send = partial(self._send, snippet, "py", "text/x-python")
                        el.button("Download", send, icon="download", kind="btn small")
                el.text("Runs the same again; with a repeatable model, the answer is the same, too.", "muted")
                el.text(snippet, "raw", "pre", tabindex="0", role="region", label="Python snippet")

    def _file(
        self, title: str, caption: str, words: str, ending: str, make: Callable[[RunStore, str], Awaitable[str]]
    ) -> None:
        async def download() -> None:
            assert self._tab.run is not None
            self._send(await make(self._tab.runs.store, self._tab.run), ending, f"text/{ending}")

        with el.card(title, "stack tight"):
            el.text(words, "muted")
            with el.box("btns"):
                el.button(caption, download, icon="download", kind="btn main")

    def _copy(self, snippet: str) -> None:
        ui.clipboard.write(snippet)
        el.notify("Copied.")

    def _send(self, content: str, ending: str, kind: str) -> None:
        ui.download.content(content, f"{self._tab.run}.{ending}", kind)
