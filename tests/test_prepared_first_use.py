"""Preparing the demo model in passing. Speeds are made up, and the files are real."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modular_pluralism.cli import demo
from modular_pluralism.home import CACHE_VARIABLE
from modular_pluralism.llama import Engine, EngineSettings
from modular_pluralism.pool import Pool
from modular_pluralism.prepared import first_use
from modular_pluralism.prepared import prepare as preparing
from modular_pluralism.prepared.cache import everything, find_entry, prepared_file
from modular_pluralism.prepared.first_use import SUGGESTION, FirstUse, prepare_on_first_use
from modular_pluralism.prepared.speed import Round, Speeds, SpeedSample
from tests.demo_model import DEMO_GGUF

pytestmark = pytest.mark.usefixtures("model_cache")

SLOW = Speeds(start=0, prompt=100, together=50, alone=20)
FAST = Speeds(start=0, prompt=400, together=100, alone=20)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(EngineSettings(DEMO_GGUF, context=256, slots=2))
    yield engine
    engine.close()


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[bool, Speeds]:
    """What is measured of the original (True) and of what is made of it, on a processor that has BF16."""
    measured = {True: SLOW, False: FAST}

    def measure(path: Path, threads: int | None, sample: SpeedSample, turn: int) -> Round:
        speeds = measured[path == DEMO_GGUF]
        return Round(speeds, speeds)

    monkeypatch.setattr(preparing, "measure_file", measure)
    monkeypatch.setattr(first_use, "instructions", lambda: frozenset({"AVX512_BF16"}))
    return measured


def test_a_slow_format_is_rewritten_once(speeds: dict[bool, Speeds], engine: Engine) -> None:
    done = prepare_on_first_use(DEMO_GGUF, engine)
    assert done is not None
    assert done.prepared
    assert done.line.startswith("First use: the model was rewritten from Q4_1 to BF16 in ")
    assert "predicts nearly what the original does (mean KL 0.00" in done.line
    assert prepared_file(DEMO_GGUF) is not None
    entry = find_entry(DEMO_GGUF)
    assert entry is not None
    assert entry.quick
    assert entry.measured[1].agreement is not None
    assert entry.measured[1].agreement.positions >= 128
    assert prepare_on_first_use(DEMO_GGUF, engine) is None


def test_a_format_that_turns_out_slow_is_not_tried_again(speeds: dict[bool, Speeds], engine: Engine) -> None:
    speeds[False] = SLOW
    done = prepare_on_first_use(DEMO_GGUF, engine)
    assert done is not None
    assert not done.prepared
    assert done.line.startswith("The model is used as it is: no format that predicts nearly the same is clearly faster")
    assert prepared_file(DEMO_GGUF) is None
    assert [each.problem for each in everything()] == [None]
    assert prepare_on_first_use(DEMO_GGUF, engine) is None


def test_on_a_processor_without_a_fast_format_nothing_is_measured(
    engine: Engine, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_use, "instructions", lambda: frozenset({"AVX2"}))
    assert prepare_on_first_use(DEMO_GGUF, engine) == FirstUse(False, SUGGESTION)
    assert not model_cache.exists()


@pytest.mark.parametrize(("setting", "value"), [("free_disk", lambda: 1000), ("usable_memory", lambda: 1000)])
def test_where_a_fast_format_does_not_fit_now_nothing_is_measured_or_remembered(
    setting: str,
    value: Callable[[], int],
    speeds: dict[bool, Speeds],
    engine: Engine,
    model_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_use, setting, value)
    assert prepare_on_first_use(DEMO_GGUF, engine) == FirstUse(False, SUGGESTION)
    assert not model_cache.exists()


def test_a_large_file_is_rewritten_only_when_asked_for(
    speeds: dict[bool, Speeds], engine: Engine, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_use, "_MOST_BYTES", 1000)
    assert prepare_on_first_use(DEMO_GGUF, engine) == FirstUse(False, SUGGESTION)
    assert not model_cache.exists()


def test_a_file_in_a_fast_format_is_left_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_use, "SLOW_FORMATS", frozenset[str]())
    assert prepare_on_first_use(DEMO_GGUF, engine) is None


def test_a_cache_that_cannot_be_written_stops_no_run(
    speeds: dict[bool, Speeds], engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    assert prepare_on_first_use(DEMO_GGUF, engine) == FirstUse(False, SUGGESTION)


def _demo_prepares(pool: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `pluralism demo` prints before its question, where the model would be rewritten."""

    def prepare(source: Path, engine: Engine) -> FirstUse:
        assert source == DEMO_GGUF
        return FirstUse(True, "The model was rewritten.")

    monkeypatch.setattr(first_use, "prepare_on_first_use", prepare)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        demo._prepare(Pool.load(pool))
    return printed.getvalue().strip()


def test_the_demo_says_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _demo_prepares("culture", monkeypatch) == "The model was rewritten."


@pytest.mark.parametrize("setting", ["prepared = false", "repeatable = true"])
def test_the_demo_prepares_nothing_that_its_pool_would_not_use(
    setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = tmp_path / "pool.toml"
    pool.write_text(
        f'base = "m"\n[models.m]\ngguf = "{DEMO_GGUF}"\n{setting}\n'
        '[communities.one]\nmodel = "m"\ndescription = "somebody"\n'
    )
    assert _demo_prepares(str(pool), monkeypatch) == ""
