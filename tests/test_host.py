"""Cores and memory, with the limits that a container sets."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from modular_pluralism.llama import host


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight hardware threads on four cores."""
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    for cpu in range(8):
        folder = tmp_path / "devices" / "system" / "cpu" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    monkeypatch.setattr(host, "_DEVICES", tmp_path / "devices")
    monkeypatch.setattr(host, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


def test_two_hardware_threads_are_one_core(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.usable_cores() == 4
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 5})
    assert host.usable_cores() == 2


@pytest.mark.parametrize(("limit", "cores"), [("1", 1), ("3", 3), ("16", 4), ("0", 4), ("", 4)])
def test_openmps_limit_of_threads(machine: Path, limit: str, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_THREAD_LIMIT", limit)
    assert host.usable_cores() == cores


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 4), ("150000 100000", 2), ("20000 100000", 1)])
def test_a_containers_quota_of_processor_time(machine: Path, quota: str, cores: int) -> None:
    (machine / "cpu.max").write_text(quota + "\n")
    assert host.usable_cores() == cores


def test_an_older_containers_quota(machine: Path) -> None:
    (machine / "cpu").mkdir()
    (machine / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (machine / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert host.usable_cores() == 3
    (machine / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert host.usable_cores() == 4


def write_list(machine: Path, kind: str, cpus: str) -> None:
    (machine / "devices" / kind).mkdir(parents=True)
    (machine / "devices" / kind / "cpus").write_text(cpus + "\n")


def test_intels_efficiency_cores_do_not_count(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_list(machine, "cpu_core", "0-1,4-5")
    assert host.usable_cores() == 4  # without any of the other kind, the list says nothing
    write_list(machine, "cpu_atom", "2-3,6-7")
    assert host.usable_cores() == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 6})
    assert host.usable_cores() == 2  # where nothing else is allowed, they do


@pytest.mark.parametrize(
    ("capacities", "cores"),
    [((1024, 1024, 1024, 1024), 4), ((1024, 800, 300, 250), 2), ((1024, 1024, None, None), 4)],
)
def test_arms_small_cores_do_not_count(machine: Path, capacities: tuple[int | None, ...], cores: int) -> None:
    for cpu in range(8):
        capacity = capacities[cpu % 4]
        if capacity is not None:
            (machine / "devices" / "system" / "cpu" / f"cpu{cpu}" / "cpu_capacity").write_text(f"{capacity}\n")
    assert host.usable_cores() == cores


def windows_core(efficiency: int, *threads: int) -> bytes:
    """One record of GetLogicalProcessorInformationEx, as Windows documents it."""
    mask = sum(1 << thread % 64 for thread in threads)
    return struct.pack("<IIBB20xHQH6x", 0, 48, len(threads) > 1, efficiency, 1, mask, threads[0] // 64)


def test_windows_fast_cores_are_counted() -> None:
    hybrid = b"".join(
        [windows_core(1, 0, 1), windows_core(1, 2, 3), *(windows_core(0, thread) for thread in range(4, 12))]
    )
    assert host.count_windows_cores(hybrid, None) == 2
    assert host.count_windows_cores(hybrid, {0, 1, 4, 5}) == 1
    assert host.count_windows_cores(hybrid, {4, 5, 6}) == 3
    alike = b"".join(windows_core(0, 2 * core, 2 * core + 1) for core in range(40))
    assert host.count_windows_cores(alike, None) == 40
    assert host.count_windows_cores(alike, {64, 65, 66, 67}) == 2
    assert host.count_windows_cores(b"", None) is None
    assert host.count_windows_cores(hybrid[:60], None) == 1


@pytest.mark.parametrize(
    ("known", "cores"),
    [
        ({"hw.perflevel0.physicalcpu": "8", "hw.physicalcpu": "12"}, 8),
        ({"hw.physicalcpu": "6"}, 6),
        ({}, psutil.cpu_count(logical=False) or os.cpu_count()),
    ],
)
def test_apples_performance_cores_are_counted(
    machine: Path, known: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "sysctl"
    cases = "".join(f"{name}) echo {value};; " for name, value in known.items())
    program.write_text(f"#!/bin/sh\ncase $2 in {cases}*) exit 1;; esac\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert host.physical_cores() == cores


def test_a_containers_memory(machine: Path) -> None:
    whole = host.usable_memory()
    assert whole == pytest.approx(psutil.virtual_memory().available, rel=0.5)
    (machine / "memory.max").write_text("1000000\n")
    (machine / "memory.current").write_text("400000\n")
    assert host.usable_memory() == 600_000
    (machine / "memory.max").write_text("max\n")
    now = host.usable_memory()
    assert (whole is None) == (now is None)
    assert now is None or now > 600_000


def test_what_a_container_keeps_of_files_is_free(machine: Path) -> None:
    """After a model was read once, its file fills the memory; that must not keep it from being loaded again."""
    (machine / "memory.max").write_text("1000000\n")
    (machine / "memory.current").write_text("990000\n")
    (machine / "memory.stat").write_text("anon 200000\nactive_file 40000\ninactive_file 700000\n")
    assert host.usable_memory() == 710_000


def test_what_an_older_container_keeps_of_files_is_free(machine: Path) -> None:
    for name, value in (("limit_in_bytes", 1000000), ("usage_in_bytes", 990000)):
        (machine / "memory").mkdir(exist_ok=True)
        (machine / "memory" / f"memory.{name}").write_text(f"{value}\n")
    assert host.usable_memory() == 10_000
    (machine / "memory" / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 300000\n")
    assert host.usable_memory() == 310_000
