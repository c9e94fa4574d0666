"""The page's process: which views there are, where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
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
from modular_pluralism.local_names import is_loopback

VIEWS: tuple[type[View], ...] = (RunView, LookView, TimeView, PromptsView, ExportView)
_HERE = Path(__file__).parent
_SHUTDOWN_SECONDS = 3
"""For browsers to hang up, and for threads to end."""
_THREADS = "page-worker"


@dataclass(frozen=True)
class Address:
    """Where the page is served; port 0 takes a free one. `others` says that more than this machine may reach it."""

    host: str
    port: int
    others: bool = False

    def check(self) -> None:
        """Raise InputError where the page would be open to others, and nobody has said so."""
        if not self.others and not is_loopback(self.host):
            raise InputError(
                f"{self.host} can be reached by others, and the page has no login: whoever opens it can read your runs "
                "and ask your models. Leave --host out, or add --let-others-in if that is what you want."
            )


def serve_page(runs: LiveRuns, address: Address, ready: Callable[[str], None]) -> int:
    """Show the page until SIGTERM or Ctrl-C; `ready` is told its address. Returns the number of the signal.

    Raises:
        InputError: the address may not or cannot be listened at.
    """
    address.check()
    with _listen(address) as listener:
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
        config = uvicorn.Config(
            RequestGuard(app, others=address.others),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        logging.getLogger("uvicorn.error").addFilter(_is_worth_telling)
        return asyncio.run(_run(_Server(config), listener, runs, ready))


class WorkThreads(ThreadPoolExecutor):
    """Threads that do not hold up the end: a model that is being loaded, which may take minutes, cannot be stopped."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix=_THREADS)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See ThreadPoolExecutor."""
        super().shutdown(wait=False, cancel_futures=True)


def end_process(code: int) -> NoReturn:
    """End this process after the page, at once: Python itself would wait for threads that are still at work."""
    for thread in threading.enumerate():
        if thread.name.startswith(_THREADS):
            thread.join(_SHUTDOWN_SECONDS)
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
    sys.exit(code)


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would end as if killed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(server: _Server, listener: socket.socket, runs: LiveRuns, ready: Callable[[str], None]) -> int:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(WorkThreads())
    asked: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if asked.done():
            server.force_exit = True
        else:
            asked.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, int(number))
    async with runs.open():
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            ready(_url(listener))
        both: list[asyncio.Future[Any]] = [serving, asked]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    return asked.result() if asked.done() else 0


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server((address.host, address.port), family=family)
    except OSError as error:
        raise InputError(
            f"{address.host} port {address.port} cannot be listened at ({os.strerror(error.errno or 0)}); choose "
            "another with --port, or --port 0 for a free one."
        ) from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _is_worth_telling(record: logging.LogRecord) -> bool:
    # A browser that is still open when the page ends is nothing to worry about.
    return "graceful shutdown" not in record.getMessage()
