"""How much memory this process has held at most."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_mib() -> float:
    """Peak of the resident set in MiB, mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count what our parent held when it started us
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def resident_mib(process: int) -> float:
    """What a process holds now, in MiB, mapped files included. Linux only."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024
