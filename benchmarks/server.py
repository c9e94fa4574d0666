"""Starting a peer's server: on a free port, ready before it is measured, and ended for sure."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.children import child, died
from benchmarks.errors import BenchmarkError
from benchmarks.http_client import request

_PATIENCE = 120.0
"""Seconds in which a server has to be ready."""


@contextlib.contextmanager
def server(what: str, command: Sequence[str | Path], *, ready: str) -> Iterator[int]:
    """The port of a running server. `command` gets `--port`; `ready` is a path that replies once the model is loaded.

    Raises:
        BenchmarkError: it ended by itself, or is not ready in time.
    """
    port = free_port()
    with child([*command, "--port", str(port)]) as (process, log):
        end = time.monotonic() + _PATIENCE
        while not asyncio.run(_is_ready(port, ready)):
            if process.poll() is not None:
                raise died(what, process, log)
            if time.monotonic() > end:
                raise BenchmarkError(f"{what} was not ready within {_PATIENCE:g} seconds.")
            time.sleep(0.1)
        yield port


async def _is_ready(port: int, path: str) -> bool:
    try:
        async with asyncio.timeout(5):
            await request(port, path)
    except (OSError, BenchmarkError, TimeoutError):
        return False
    return True


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
