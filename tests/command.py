"""Running the `pluralism` command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.fork_server import Command

PLURALISM = str(Path(sys.executable).parent / "pluralism")
PATIENCE = 300.0
"""Seconds that a command may take."""


def pluralism(
    *arguments: str, stdin: str = "", cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The finished command with what it printed."""
    return _finished([PLURALISM, *arguments], stdin, cwd, {"COLUMNS": "100", **(env or {})})


def python(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The finished Python program with what it printed; it finds the arguments at the end of `sys.argv`."""
    return _finished([sys.executable, "-c", code, *arguments], "", cwd, {})


class Started(Command):
    """A command at work, with what it prints."""

    def __init__(self, command: list[str], cwd: Path | None, env: Mapping[str, str]) -> None:
        given = os.open(os.devnull, os.O_RDONLY)
        said, out = os.pipe()
        told, err = os.pipe()
        self.stdout: IO[str] = os.fdopen(said, encoding="utf-8")
        self.stderr: IO[str] = os.fdopen(told, encoding="utf-8")
        try:
            super().__init__(command, cwd=cwd, env={**os.environ, **env}, streams=(given, out, err))
        finally:
            for file in (given, out, err):
                os.close(file)

    def communicate(self, timeout: float = PATIENCE) -> tuple[str, str]:
        """What it has printed on standard output and error, once it has ended."""
        with ThreadPoolExecutor(2) as pool:
            said, told = (pool.submit(stream.read) for stream in (self.stdout, self.stderr))
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            return said.result(), told.result()


@contextmanager
def started(*arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Iterator[Started]:
    """The command at work, which does not outlive this block."""
    process = Started([PLURALISM, *arguments], cwd, {"COLUMNS": "100", **(env or {})})
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        process.stdout.close()
        process.stderr.close()


def _finished(
    command: Sequence[str], stdin: str, cwd: Path | None, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        streams = (given.fileno(), out.fileno(), err.fileno())
        process = Command(list(command), cwd=cwd, env={**os.environ, **env}, streams=streams)
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        said, told = (_read(file) for file in (out, err))
    return subprocess.CompletedProcess(command, code, said, told)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()
