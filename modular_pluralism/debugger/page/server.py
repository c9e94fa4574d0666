"""The page's process: which views there are, where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NoReturn

from fastapi import FastAPI
from nicegui import ui

from modular_pluralism.debugger.page.elements import ICON
from modular_pluralism.debugger.page.export_view import ExportView
from modular_pluralism.debugger.page.live_runs import LiveRuns
from modular_pluralism.debugger.page.look_view import LookView
from modular_pluralism.debugger.page.prompts_view import PromptsView
from modular_pluralism.debugger.page.request_guard import RequestGuard
from modular_pluralism.debugger.page.run_view import RunView
from modular_pluralism.debugger.page.tab import Tab, View
from modular_pluralism.debugger.page.time_view import TimeView
from modular_pluralism.errors import InputError
from modular_pluralism.listening import Server, listen, url_of
from modular_pluralism.local_names import is_loopback

VIEWS: tuple[type[View], ...] = (RunView, LookView, TimeView, PromptsView, ExportView)
_HERE = Path(__file__).parent
_SHUTDOWN_SECONDS = 3
"""For browsers to hang up."""


def check_host(host: str, *, others: bool) -> None:
    """Raise InputError where the page would be open to others, and nobody has said so."""
    if not others and not is_loopback(host):
        raise InputError(
            f"{host} can be reached by others, and the page has no login: whoever opens it can read your runs and ask "
            "your models. Leave --host out, or add --let-others-in if that is what you want."
        )


def serve_page(runs: LiveRuns, host: str, port: int, ready: Callable[[str], None], *, others: bool = False) -> int:
    """Show the page until SIGTERM or Ctrl-C; `ready` is told its address. Port 0 takes a free one, and `others` says
    that more than this machine may reach it. Returns the number of the signal.

    Raises:
        InputError: the address may not or cannot be listened at.
    """
    check_host(host, others=others)
    with listen(host, port) as listener:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        async def root(run: str = "", view: str = "", beside: str = "") -> None:
            """Build the page for a browser tab that has just opened it."""
            ui.add_css((_HERE / "page.css").read_text(encoding="utf-8"))
            ui.add_body_html(f"<script>{(_HERE / 'page.js').read_text(encoding='utf-8')}</script>")
            Tab(runs, VIEWS, run, view, beside).build()

        ui.run_with(
            app,
            root=root,
            title="Modular Pluralism",
            favicon=ICON,
            dark=None,
            tailwind=False,
            show_welcome_message=False,
            reconnect_timeout=30.0,
        )
        server = Server(RequestGuard(app, others=others), timeout_graceful_shutdown=_SHUTDOWN_SECONDS)
        logging.getLogger("uvicorn.error").addFilter(_is_worth_telling)
        return asyncio.run(_run(server, listener, runs, ready))


class WorkThreads(ThreadPoolExecutor):
    """Threads that do not hold up the end: a model that is being loaded, which may take minutes, cannot be stopped."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See ThreadPoolExecutor."""
        super().shutdown(wait=False, cancel_futures=True)


def end_process(code: int) -> NoReturn:
    """End this process after the page, at once: Python itself would wait for threads that are still at work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _run(server: Server, listener: socket.socket, runs: LiveRuns, ready: Callable[[str], None]) -> int:
    asyncio.get_running_loop().set_default_executor(WorkThreads())

    def hurry() -> None:
        server.force_exit = True

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(runs.open())
        return await server.serve_until_signal(
            listener, ready=lambda: ready(f"{url_of(listener)}/"), close=stack.aclose, hurry=hurry
        )


def _is_worth_telling(record: logging.LogRecord) -> bool:
    # A browser that is still open when the page ends is nothing to worry about.
    return "graceful shutdown" not in record.getMessage()
