"""The page's process: where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from modular_pluralism.debugger.page.desk import Desk
from modular_pluralism.debugger.page.favicon import FAVICON
from modular_pluralism.debugger.page.front import Front
from modular_pluralism.debugger.page.place import Place, check_place
from modular_pluralism.debugger.page.shell import show_page
from modular_pluralism.errors import InputError

_LAST_WORDS = 3
"""Seconds for browsers to hang up."""


def serve_page(desk: Desk, place: Place, ready: Callable[[str], None]) -> int:
    """Show the page until SIGTERM or Ctrl-C; `ready` is told its address. Returns the number of the signal.

    Raises:
        InputError: the place may not or cannot be listened at.
    """
    check_place(place)
    with _listen(place) as listener:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        async def root(run: str = "", view: str = "", beside: str = "") -> None:
            await show_page(desk, run=run, view=view, beside=beside)

        ui.run_with(
            app,
            root=root,
            title="Modular Pluralism",
            favicon=FAVICON,
            dark=None,
            tailwind=False,
            show_welcome_message=False,
            reconnect_timeout=30.0,
        )
        config = uvicorn.Config(
            Front(app, others=place.others),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_LAST_WORDS,
        )
        logging.getLogger("uvicorn.error").addFilter(_is_worth_telling)
        return asyncio.run(_run(_Server(config), listener, desk, ready))


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would end as if killed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(server: _Server, listener: socket.socket, desk: Desk, ready: Callable[[str], None]) -> int:
    asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stop(number: int) -> None:
        if asked.done():
            server.force_exit = True
        else:
            asked.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, int(number))
    async with desk.open():
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            ready(_address(listener))
        both: list[asyncio.Future[Any]] = [serving, asked]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    return asked.result() if asked.done() else 0


def _listen(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        return socket.create_server((place.host, place.port), family=family)
    except OSError as error:
        raise InputError(
            f"{place.host} port {place.port} cannot be listened at ({os.strerror(error.errno or 0)}); choose another "
            "with --port, or --port 0 for a free one."
        ) from None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _is_worth_telling(record: logging.LogRecord) -> bool:
    # A browser that is still open when the page ends is nothing to worry about.
    return "graceful shutdown" not in record.getMessage()
