"""A command that listens at an address, in a process of its own."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

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
