"""What a benchmark ran on."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

from benchmarks.peers import Peers
from modular_pluralism.llama.host import usable_cores

_OURS = ("modular-pluralism", "llama-cpp-python", "langgraph", "langchain-core")


def describe_machine(peers: Peers, threads: int) -> str:
    """Processor, cores, threads, versions and date, of a comparison with peers."""
    spin = os.environ.get("GOMP_SPINCOUNT", "libgomp's own")
    return (
        f"{describe_host()}; {threads} threads for every side, spin count of OpenMP threads {spin} for every side; "
        f"peers: {peers.describe() or 'none'}"
    )


def describe_host() -> str:
    """Processor, cores, versions and date."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _OURS)
    return (
        f"{cpu}, {usable_cores()} cores, {platform.system()}, Python {platform.python_version()}; {versions}; "
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}"
    )
