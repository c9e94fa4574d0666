"""What this process may use of the host: cores and memory, with the limits that a container sets."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

_CGROUP = Path("/sys/fs/cgroup")
_DEVICES = Path("/sys/devices")


def usable_cores() -> int:
    """Physical cores that this process may keep busy: where there are fast and slow ones, the fast ones.

    Two hardware threads of one core count once, since llama.cpp's kernels fill a core by themselves, and at every step
    all threads wait for the slowest. A container's quota of processor time is rounded up to whole cores.
    OMP_THREAD_LIMIT counts as well: PyTorch computes nonsense where it counts on more threads than OpenMP gives it.
    """
    return max(1, math.ceil(min(physical_cores(), _quota(_CGROUP), _thread_limit())))


def usable_memory() -> int | None:
    """Bytes that are free for this process, as far as the host tells; what caches of files hold counts as free."""
    known = [free for free in (_free_memory(), _free_in_group(_CGROUP)) if free is not None]
    return min(known, default=None)


def physical_cores() -> int:
    """The host's cores that this process may run on, hardware threads counted once, and the fast ones where there are
    slow ones."""
    if sys.platform == "darwin":
        return _mac_cores() or _other_cores()
    if sys.platform == "win32":
        return _windows_cores() or _other_cores()
    return _linux_cores() or _other_cores()


def _linux_cores() -> int | None:
    try:
        allowed: set[int] = set(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return None
    topology = _DEVICES / "system" / "cpu"
    fast = _fast(allowed)
    siblings = {_text(topology / f"cpu{cpu}" / "topology" / "thread_siblings_list") or str(cpu) for cpu in fast}
    return len(siblings)


def _fast(allowed: set[int]) -> set[int]:
    """Those of the allowed processors that are performance cores; all of them where no difference is known."""
    # Intel's hybrids have a list of either kind, ARM's tell how much each can do.
    performance = _numbers(_text(_DEVICES / "cpu_core" / "cpus") or "") & allowed
    if performance and _text(_DEVICES / "cpu_atom" / "cpus"):
        return performance
    told = {cpu: _text(_DEVICES / "system" / "cpu" / f"cpu{cpu}" / "cpu_capacity") or "" for cpu in allowed}
    capacities = {cpu: int(capacity) for cpu, capacity in told.items() if capacity.isdigit()}
    if len(capacities) < len(allowed):
        return allowed
    return {cpu for cpu, capacity in capacities.items() if 2 * capacity >= max(capacities.values())}


def _numbers(ranges: str) -> set[int]:
    """The numbers of a list such as "0-3,8"."""
    found: set[int] = set()
    for each in ranges.split(","):
        first, _, last = each.strip().partition("-")
        if first.isdigit() and (last or first).isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return found


def _mac_cores() -> int | None:
    """Apple's processors tell of their levels, of which the first has the performance cores; Intel's of all alike."""
    for name in ("hw.perflevel0.physicalcpu", "hw.physicalcpu"):
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            told = subprocess.run(["sysctl", "-n", name], capture_output=True, check=True, timeout=5)
            if (count := int(told.stdout)) > 0:
                return count
    return None


def _windows_cores() -> int | None:
    """As Windows lists its cores, each with its class of efficiency: a higher one is faster."""
    tell = _windows_function()
    size = ctypes.c_uint32(0)
    every_core = 0  # RelationProcessorCore
    tell(every_core, None, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    if not size.value or not tell(every_core, buffer, ctypes.byref(size)):
        return None
    return count_windows_cores(buffer.raw[: size.value], _affinity())


def _windows_function() -> Any:
    windows: Any = ctypes
    return windows.windll.kernel32.GetLogicalProcessorInformationEx


def count_windows_cores(listed: bytes, allowed: set[int] | None) -> int | None:
    """The cores of the highest class in what GetLogicalProcessorInformationEx lists, of which this process may use a
    hardware thread; `allowed` None means all of them. None where it lists no such core."""
    classes: Counter[int] = Counter()
    for record in _records(listed):
        # Relationship and size (4 bytes each), flags, class, 20 reserved bytes, the number of groups, and the first
        # group's mask and number.
        efficiency, mask, group = record[9], struct.unpack_from("<Q", record, 32)[0], record[40]
        threads = {64 * group + bit for bit in range(64) if mask >> bit & 1}
        if allowed is None or threads & allowed:
            classes[efficiency] += 1
    return classes[max(classes)] if classes else None


def _records(listed: bytes) -> Iterator[bytes]:
    while len(listed) >= 48:
        _, size = struct.unpack_from("<II", listed)
        if size < 48:
            return
        yield listed[:size]
        listed = listed[size:]


def _affinity() -> set[int] | None:
    """The processors that this process may use, where that can be limited."""
    with contextlib.suppress(AttributeError, psutil.Error, OSError):
        return set(psutil.Process().cpu_affinity() or ()) or None
    return None


def _other_cores() -> int:
    return psutil.cpu_count(logical=False) or os.cpu_count() or 1


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
    with contextlib.suppress(ValueError):
        if (limit := int(os.environ.get("OMP_THREAD_LIMIT", ""))) > 0:
            return limit
    return math.inf


def _free_memory() -> int | None:
    try:
        return int(psutil.virtual_memory().available)
    except (OSError, RuntimeError, ValueError, psutil.Error):  # as in a container without /proc
        return None


def _free_in_group(group: Path) -> int | None:
    """What the control group may still take: its limit less what it uses, of which files that were read, such as the
    weights of an earlier run, are given up as soon as others want the memory."""
    for limit, used, statistics, cached in (
        (group / "memory.max", group / "memory.current", group / "memory.stat", "inactive_file"),
        (
            group / "memory" / "memory.limit_in_bytes",
            group / "memory" / "memory.usage_in_bytes",
            group / "memory" / "memory.stat",
            "total_inactive_file",
        ),
    ):
        most, now = _text(limit), _text(used)
        if most and now and most.isdigit() and now.isdigit():
            return max(0, int(most) - max(0, int(now) - _statistic(statistics, cached)))
    return None


def _statistic(file: Path, name: str) -> int:
    for line in (_text(file) or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return None
