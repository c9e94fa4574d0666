"""The page as a whole: which views there are, and a tab of them for every browser tab."""

from __future__ import annotations

from pathlib import Path

from nicegui import ui

from modular_pluralism.debugger.page.export_view import ExportView
from modular_pluralism.debugger.page.live_runs import LiveRuns
from modular_pluralism.debugger.page.look_view import LookView
from modular_pluralism.debugger.page.prompts_view import PromptsView
from modular_pluralism.debugger.page.run_view import RunView
from modular_pluralism.debugger.page.tab import Tab, View
from modular_pluralism.debugger.page.time_view import TimeView

VIEWS: tuple[type[View], ...] = (RunView, LookView, TimeView, PromptsView, ExportView)
_HERE = Path(__file__).parent


async def show_page(runs: LiveRuns, *, run: str, view: str, beside: str) -> None:
    """Build the page for a browser tab that has just opened it."""
    ui.add_css((_HERE / "page.css").read_text(encoding="utf-8"))
    ui.add_body_html(f"<script>{(_HERE / 'page.js').read_text(encoding='utf-8')}</script>")
    Tab(runs, VIEWS, run, view, beside).build()
