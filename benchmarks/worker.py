"""Our end of a process from `benchmarks.workers`."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from benchmarks.children import child, died
from benchmarks.errors import BenchmarkError


class Worker:
    """Asks a worker process, one request at a time."""

    def __init__(self, name: str, process: subprocess.Popen[str], log: IO[bytes]) -> None:
        self._name = name
        self._process = process
        self._log = log

    def ask(self, **request: Any) -> dict[str, Any]:
        """The reply to a request.

        Raises:
            BenchmarkError: the worker reports an error, or has died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then it gives no reply, either
            print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise died(self._name, self._process, self._log)
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise BenchmarkError(f"{self._name}: {reply['error']}")
        return reply


@contextlib.contextmanager
def worker(python: Path | str, name: str) -> Iterator[Worker]:
    """The running `benchmarks.workers.NAME`."""
    with child([python, "-m", f"benchmarks.workers.{name}"], talks=True) as (process, log):
        yield Worker(name, process, log)
