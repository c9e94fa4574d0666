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
    return _finished([PLURALISM, *arguments], stdin, cwd, {"COLUMNS": "100", **(env or {})})


def python(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The finished Python program with what it printed; it finds the arguments at the end of `sys.argv`."""
    return _finished([sys.executable, "-c", code, *arguments], "", cwd, {})


def _finished(
    command: list[str], stdin: str, cwd: Path | None, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        given, out, err = (Path(folder) / name for name in ("stdin", "stdout", "stderr"))
        for file in (out, err):
            file.touch()
        given.write_text(stdin, encoding="utf-8")
        code = fork_server.run(command, cwd=cwd, env={**os.environ, **env}, streams=(given, out, err))
        said, told = (file.read_bytes().decode() for file in (out, err))
    return subprocess.CompletedProcess(command, code, said, told)
