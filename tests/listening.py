"""A command that listens at an address, in a process of its own."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.command import Started, started

START_SECONDS = 180.0


@contextmanager
def listening(
    *arguments: str, address: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[tuple[Started, str]]:
    """`pluralism` with these arguments until the block ends, and its address: what matches in its first line."""
    with started(*arguments, cwd=cwd, env=env) as process:
        timer = threading.Timer(START_SECONDS, process.kill)
        timer.start()
        line = process.stdout.readline()
        timer.cancel()
        match = re.search(address, line)
        assert match, (line, process.communicate())
        yield process, match[0]


def hung_up_on(url: str) -> bytes:
    """The answer to a request whose body never comes, until the server hangs up; uvicorn by itself does not."""
    host, port = urlsplit(url).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(4096), b""))
