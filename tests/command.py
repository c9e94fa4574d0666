"""Running the `pluralism` command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import fork_server

PLURALISM = str(Path(sys.executable).parent / "pluralism")


def pluralism(
    *arguments: str, stdin: str = "", cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The finished command with what it printed."""
    command = [PLURALISM, *arguments]
    with tempfile.TemporaryDirectory() as folder:
        given, out, err = (Path(folder) / name for name in ("stdin", "stdout", "stderr"))
        for file in (out, err):
            file.touch()
        given.write_text(stdin, encoding="utf-8")
        environment = {**os.environ, "COLUMNS": "100", **(env or {})}
        code = fork_server.run(command, cwd=cwd, env=environment, streams=(given, out, err))
        said, told = (file.read_bytes().decode() for file in (out, err))
    return subprocess.CompletedProcess(command, code, said, told)
