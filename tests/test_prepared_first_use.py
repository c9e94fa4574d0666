"""Preparing the demo model in passing: only where the run gains more time than that takes. Speeds are made up."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from modular_pluralism.cli import demo
from modular_pluralism.llama import Engine, EngineSettings
from modular_pluralism.prepared import first_use
from modular_pluralism.prepared.cache import FOLDER_VARIABLE, everything, find_entry, prepared_file
from modular_pluralism.prepared.first_use import SUGGESTION, FirstUse, prepare_if_it_pays
from modular_pluralism.prepared.formats import FORMATS
from modular_pluralism.prepared.workload import Speeds, Workload, demo_run
from tests.demo_model import DEMO_GGUF

pytestmark = pytest.mark.usefixtures("model_cache")

SLOW = Speeds(start=0, prompt=100, together=50, alone=20)
FAST = Speeds(start=0, prompt=400, together=100, alone=20)
DEMO = demo_run(6)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(EngineSettings(DEMO_GGUF, context=256, slots=2))
    yield engine
    engine.close()


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> list[Speeds]:
    """What is measured of the original, then of the candidate, on a processor for which one is known."""
    measured = [SLOW, FAST]
    monkeypatch.setattr(first_use, "_probe", lambda _: measured.pop(0))
    monkeypatch.setattr(first_use, "_fast_format", lambda _: FORMATS["BF16"])
    return measured


def test_a_run_that_gains_more_than_it_costs_prepares_once(speeds: list[Speeds], engine: Engine) -> None:
    done = prepare_if_it_pays(DEMO_GGUF, engine, DEMO)
    assert done is not None
    assert done.prepared
    assert done.line.startswith("First use: the model was rewritten from Q4_1 to BF16 in ")
    assert prepared_file(DEMO_GGUF) is not None
    entry = find_entry(DEMO_GGUF)
    assert entry is not None
    assert entry.quick
    assert entry.measured[1].agreement is not None
    assert entry.measured[1].agreement.positions >= 128
    assert prepare_if_it_pays(DEMO_GGUF, engine, DEMO) is None


def test_a_short_run_does_not_begin(speeds: list[Speeds], engine: Engine, model_cache: Path) -> None:
    done = prepare_if_it_pays(DEMO_GGUF, engine, Workload(prompt=100, together=50, alone=50))
    assert done is not None
    assert (done.prepared, done.line) == (False, SUGGESTION)
    assert speeds == [FAST]
    assert not model_cache.exists()


def test_a_format_that_turns_out_slow_is_not_tried_again(speeds: list[Speeds], engine: Engine) -> None:
    speeds[1] = SLOW
    done = prepare_if_it_pays(DEMO_GGUF, engine, DEMO)
    assert done is not None
    assert not done.prepared
    assert prepared_file(DEMO_GGUF) is None
    assert [each.problem for each in everything()] == [None]
    assert prepare_if_it_pays(DEMO_GGUF, engine, DEMO) is None


def test_a_format_that_changes_the_answers_is_not_used(
    speeds: list[Speeds], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_use, "_fast_format", lambda _: FORMATS["Q4_0"])
    done = prepare_if_it_pays(DEMO_GGUF, engine, DEMO)
    assert done is not None
    assert not done.prepared
    assert "Q4_0 changes the answers" in done.line
    assert prepared_file(DEMO_GGUF) is None


def test_without_a_format_known_to_be_fast_nothing_is_measured(
    speeds: list[Speeds], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_use, "_fast_format", lambda _: None)
    done = prepare_if_it_pays(DEMO_GGUF, engine, DEMO)
    assert done is not None
    assert done.line == SUGGESTION
    assert speeds == [SLOW, FAST]


def test_a_file_in_a_fast_format_is_left_alone(
    speeds: list[Speeds], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_use, "_SLOW", frozenset[str]())
    assert prepare_if_it_pays(DEMO_GGUF, engine, DEMO) is None


def test_a_cache_that_cannot_be_written_stops_no_run(
    speeds: list[Speeds], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    done = prepare_if_it_pays(DEMO_GGUF, engine, DEMO)
    assert done is not None
    assert (done.prepared, done.line) == (False, SUGGESTION)


def _demo_prepares(pool: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[Workload]]:
    """What `pluralism demo` prints before its question, and the runs for which it asked whether preparing pays."""
    asked: list[Workload] = []

    def prepare(source: Path, engine: Engine, run: Workload) -> FirstUse:
        assert source == DEMO_GGUF
        asked.append(run)
        return FirstUse(True, "The model was rewritten.")

    monkeypatch.setattr(first_use, "prepare_if_it_pays", prepare)
    printed = io.StringIO()
    demo._prepare(Console(file=printed), pool)
    return printed.getvalue().strip(), asked


def test_the_demo_says_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _demo_prepares("culture", monkeypatch) == ("The model was rewritten.", [demo_run(5)])


@pytest.mark.parametrize("setting", ["prepared = false", "repeatable = true"])
def test_the_demo_prepares_nothing_that_its_pool_would_not_use(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = tmp_path / "pool.toml"
    pool.write_text(
        f'base = "m"\n[models.m]\ngguf = "{DEMO_GGUF}"\n{setting}\n'
        '[communities.one]\nmodel = "m"\ndescription = "somebody"\n'
    )
    assert _demo_prepares(str(pool), monkeypatch) == ("", [])
