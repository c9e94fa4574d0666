"""What this process may use of the host: cores and memory, with the limits that a container sets."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_TOPOLOGY = Path("/sys/devices/system/cpu")


def usable_cores() -> int:
    """Physical cores that this process may keep busy.

    Two hardware threads of one core count once, since llama.cpp's kernels fill a core by themselves; a container's
    quota of processor time is rounded up to whole cores. OMP_THREAD_LIMIT counts as well: PyTorch computes nonsense
    where it counts on more threads than OpenMP gives it.
    """
    return max(1, math.ceil(min(_physical_cores(), _quota(_CGROUP), _thread_limit())))


def usable_memory() -> int | None:
    """Bytes that are free for this process, as far as the host tells."""
    known = [free for free in (_free_memory(), _free_in_group(_CGROUP)) if free is not None]
    return min(known, default=None)


def _physical_cores() -> int:
    try:
        allowed = os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
    siblings = {_text(_TOPOLOGY / f"cpu{cpu}" / "topology" / "thread_siblings_list") or str(cpu) for cpu in allowed}
    return len(siblings)


def _quota(group: Path) -> float:
    """Processors' worth of time that the control group may use (version 2, then version 1)."""
    limit, _, period = (_text(group / "cpu.max") or "").partition(" ")
    if not limit:
        limit = _text(group / "cpu" / "cpu.cfs_quota_us") or ""
        period = _text(group / "cpu" / "cpu.cfs_period_us") or ""
    if limit.isdigit() and period.isdigit() and int(period) > 0:
        return int(limit) / int(period)
    return math.inf


def _thread_limit() -> float:
    limit = os.environ.get("OMP_THREAD_LIMIT", "")
    return int(limit) if limit.isdigit() and int(limit) > 0 else math.inf


def _free_memory() -> int | None:
    for line in (_text(Path("/proc/meminfo")) or "").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _free_in_group(group: Path) -> int | None:
    for limit, used in (
        (group / "memory.max", group / "memory.current"),
        (group / "memory" / "memory.limit_in_bytes", group / "memory" / "memory.usage_in_bytes"),
    ):
        most, now = _text(limit), _text(used)
        if most and now and most.isdigit() and now.isdigit():
            return max(0, int(most) - int(now))
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
