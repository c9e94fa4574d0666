"""A command that listens at an address, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.command import PLURALISM

START_SECONDS = 180.0


@contextmanager
def listening(
    arguments: Sequence[str], address: str, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`pluralism` with these arguments until the block ends, and its address: what matches in its first line."""
    process = subprocess.Popen(
        [PLURALISM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )
    try:
        yield process, _address(process, address)
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _address(process: subprocess.Popen[str], address: str) -> str:
    assert process.stdout is not None
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    match = re.search(address, line)
    assert match, (line, process.stderr.read() if process.stderr else "")
    return match[0]
