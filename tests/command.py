"""Running the `pluralism` command as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLURALISM = str(Path(sys.executable).parent / "pluralism")


def pluralism(
    *arguments: str, stdin: str = "", cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The finished command with what it printed."""
    return subprocess.run(
        [PLURALISM, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **(env or {})},
        check=False,
    )
