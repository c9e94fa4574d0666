"""A server of this process: where it listens, and how it ends by a signal without being cut off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

from modular_pluralism.connections import BoundedConnection, ConnectionLimits
from modular_pluralism.errors import InputError


class Server(uvicorn.Server):
    """Serves an application within `limits`; `settings` are further ones of uvicorn's.

    It leaves signals to us: uvicorn would close the door at once, and end as if killed.
    """

    def __init__(self, app: Any, limits: ConnectionLimits | None = None, **settings: Any) -> None:
        bounded = type("Connection", (BoundedConnection,), {"limits": limits or ConnectionLimits()})
        quiet: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False}
        super().__init__(uvicorn.Config(app, http=bounded, **quiet, **settings))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """See uvicorn."""
        yield

    async def serve_until_signal(
        self,
        listener: socket.socket,
        *,
        ready: Callable[[], None],
        close: Callable[[], Awaitable[object]],
        hurry: Callable[[], None],
    ) -> int:
        """Serve until SIGTERM or Ctrl-C, then wait for `close`; `hurry` is called at every signal after the first.

        Returns the number of the signal, or 0 where the server has ended by itself.
        """
        loop = asyncio.get_running_loop()
        asked: asyncio.Future[int] = loop.create_future()

        def stop(number: int) -> None:
            if asked.done():
                hurry()
            else:
                asked.set_result(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, int(number))
        serving = asyncio.ensure_future(self.serve(sockets=[listener]))
        while not self.started and not serving.done():
            await asyncio.sleep(0.01)
        if self.started:
            ready()
        both: list[asyncio.Future[Any]] = [serving, asked]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not serving.done():
            await close()
            self.should_exit = True
        await serving
        return asked.result() if asked.done() else 0


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address; port 0 takes a free one.

    Raises:
        InputError: it cannot be listened at.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise InputError(
            f"{host} port {port} cannot be listened at ({why}); choose another with --host or --port; --port 0 takes a "
            "free one."
        ) from None


def url_of(listener: socket.socket) -> str:
    """The address of what listens there, without a slash at the end."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
