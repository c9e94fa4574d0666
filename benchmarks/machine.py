"""What a benchmark ran on."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from pathlib import Path

from modular_pluralism.llama.engine import usable_cores


def describe_machine() -> str:
    """Processor, cores, versions and date, in one line."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("modular-pluralism", "llama-cpp-python")
    )
    return (
        f"{cpu}, {usable_cores()} cores, {platform.system()}, Python {platform.python_version()}, {versions}, "
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}"
    )
