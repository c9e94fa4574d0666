"""Cores and memory, with the limits that a container sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modular_pluralism.llama import host


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight hardware threads on four cores."""
    monkeypatch.delenv("OMP_THREAD_LIMIT", raising=False)
    for cpu in range(8):
        folder = tmp_path / "cpu" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    monkeypatch.setattr(host, "_TOPOLOGY", tmp_path / "cpu")
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
    (machine / "cpu" / "cpu.cfs_quota_us").write_text("300000\n")
    (machine / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert host.usable_cores() == 3
    (machine / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert host.usable_cores() == 4


def test_a_containers_memory(machine: Path) -> None:
    whole = host.usable_memory()
    (machine / "memory.max").write_text("1000000\n")
    (machine / "memory.current").write_text("400000\n")
    assert host.usable_memory() == 600_000
    (machine / "memory.max").write_text("max\n")
    now = host.usable_memory()
    assert (whole is None) == (now is None)
    assert now is None or now > 600_000
