"""The load command: what it counts, and one short round of each kind on an embedded model."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys

import pytest

from benchmarks import load
from benchmarks.errors import BenchmarkError


def put(ask: load.Ask, *, at_once: int = 3, seconds: float = 0.3) -> load.Load:
    found = load.Load(os.getpid())
    asyncio.run(load.put_load(found, ask, at_once=at_once, minutes=seconds / 60, say=lambda line: None))
    return found


def test_as_many_as_wanted_are_at_work_and_all_are_counted() -> None:
    running, most, asked = 0, 0, []

    async def ask(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        asked.append(number)
        await asyncio.sleep(0.01)
        running -= 1

    found = put(ask)
    assert most == 3
    assert asked == list(range(len(asked)))
    assert len(found.seconds) == len(asked) == found.report()["answers"]
    assert not found.errors


def test_what_fails_is_an_error_and_the_rest_goes_on() -> None:
    async def ask(number: int) -> None:
        await asyncio.sleep(0.01)
        if number % 2:
            raise BenchmarkError("no answer")

    found = put(ask)
    assert found.errors["BenchmarkError: no answer"] > 2
    assert len(found.seconds) > 2


def test_a_fault_of_the_command_itself_is_no_error_of_the_server() -> None:
    async def ask(number: int) -> None:
        raise KeyError(number)

    with pytest.raises(KeyError):
        put(ask)


def test_what_does_not_answer_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "_STUCK", 0.2)
    monkeypatch.setattr(load, "_EVERY", 0.05)

    async def ask(number: int) -> None:
        await asyncio.sleep(60)

    found = put(ask)
    assert found.stuck
    assert not found.seconds


def test_the_slope_of_the_memory_leaves_out_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    found = load.Load(os.getpid())
    clock = itertools.count(found.started + 600, 0.0)
    monkeypatch.setattr("benchmarks.load.time.monotonic", lambda: next(clock))
    found.memory = [(float(minute), 500.0 + (400 if minute > 2 else 0) + minute) for minute in range(10)]
    memory = found.report()["memory_mib"]
    assert memory["slope_a_minute"] == pytest.approx(1)
    assert (memory["after_a_third"], memory["most"]) == (904, 909)


@pytest.mark.parametrize("what", ["graph", "server"])
def test_a_short_round(what: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["load.py", what, "--minutes", "0.02", "--at-once", "2", "--json"])
    assert load.main() == 0
    report = json.loads(capsys.readouterr().out)
    assert report["answers"] >= 2
    assert report["errors"] == {}
    assert not report["stuck"]
    assert report["memory_mib"]["most"] > 100
