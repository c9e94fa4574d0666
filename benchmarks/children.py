"""Processes that a benchmark starts: each in a session of its own, and each ended for sure."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from benchmarks.errors import BenchmarkError

REPOSITORY = Path(__file__).resolve().parents[1]
_PATIENCE = 5.0
"""Seconds in which a process has to end by itself."""

_running: set[subprocess.Popen[str]] = set()


@contextlib.contextmanager
def child(command: Sequence[str | Path], *, talks: bool = False) -> Iterator[tuple[subprocess.Popen[str], IO[bytes]]]:
    """A running process, and the file that its output goes to; ended on the way out.

    With `talks`, its standard input and output are pipes, and only its errors go to the file. It has our environment:
    with it the spin count of libgomp's threads that importing `modular_pluralism.llama` sets.
    """
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else log,
            stderr=log,
            text=True,
            start_new_session=True,  # Ctrl-C comes to us alone, and what the child starts ends with it
        )
        _running.add(process)
        try:
            yield process, log
        finally:
            end(process)


def end(process: subprocess.Popen[str]) -> None:
    """End a process and everything that it started."""
    _signal(process, signal.SIGTERM)
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        pass
    finally:  # also where a second Ctrl-C breaks the wait off
        _signal(process, signal.SIGKILL)
        process.wait()
        _running.discard(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was never read cannot be flushed any more
                    pipe.close()


def _signal(process: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended already
        os.killpg(process.pid, number)


def died(what: str, process: subprocess.Popen[str], log: IO[bytes]) -> BenchmarkError:
    """The error for a process that ended by itself, with the end of what it said."""
    log.seek(0)
    said = log.read().decode("utf-8", "replace").strip().splitlines()[-5:]
    return BenchmarkError(f"{what} ended with code {process.poll()}: {' / '.join(said) or 'it said nothing'}")


def run(what: str, command: Sequence[str | Path]) -> str:
    """The standard output of a command.

    Raises:
        BenchmarkError: it failed.
    """
    with child(command, talks=True) as (process, log):
        said, _ = process.communicate()
        if process.returncode != 0:
            raise died(what, process, log)
        return said


@atexit.register
def _end_all() -> None:
    for process in list(_running):
        end(process)
