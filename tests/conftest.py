"""What every test stands on: which model it gets, and that it sees nothing of the developer's or of another test's.

A test that uses the fixture `demo_gguf`, or whose module imports DEMO_GGUF, is marked `model`; whatever is so marked
gets the demo model's weights. For all others a small random model stands in for them, in pool files as well. A test
that starts a command, a server or any other process is marked `command`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from modular_pluralism.home import CACHE_VARIABLE
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.prepared.cache import find_entry
from modular_pluralism.prepared.prepare import Thoroughness, prepare
from modular_pluralism.prepared.processor import instructions
from modular_pluralism.prepared.speed import SpeedSample
from tests.demo_model import DEMO_GGUF
from tests.marks import starts_a_process
from tests.random_model import make_random_model, stand_in

# An example that takes long says something about the machine: examples are counted, not timed.
# The draws are the same each time; `pytest --hypothesis-profile=search` draws others.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", settings.get_profile("search"), derandomize=True)
settings.load_profile("suite")
_stopped = False


def pytest_configure(config: pytest.Config) -> None:
    """Workers of pytest-xdist share the cores: threads that wait for each other at every step must not outnumber them.

    The workers, and the processes that they start, inherit the limit; libgomp reads it as it is loaded.
    """
    workers: int | None = config.getoption("numprocesses", None)
    if workers:
        os.environ.setdefault("OMP_THREAD_LIMIT", str(max(1, usable_cores() // workers)))
    # A shell ignores Ctrl-C for what it starts in the background, and what tests start would inherit that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    make_random_model()


def pytest_xdist_auto_num_workers() -> int:
    """Tests wait for processes, browsers and servers: with one worker a core, a third of the time is idle."""
    return usable_cores() * 3 // 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if "demo_gguf" in item.fixturenames or "DEMO_GGUF" in vars(item.module):
            item.add_marker("model")
        if item.get_closest_marker("model") and "demo_gguf" not in item.fixturenames:
            item.fixturenames = ["demo_gguf", *item.fixturenames]  # the list is shared by all parameters of a test
        if starts_a_process(item):
            item.add_marker("command")
    # Processes take file after file. What takes long begins first, so that all of them end at about the same time.
    marks = ("model", "browser", "faults", "documents")
    long = {item.path for item in items if any(map(item.get_closest_marker, marks))}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    stand_in(not item.get_closest_marker("model"))


def pytest_keyboard_interrupt(excinfo: pytest.ExceptionInfo[BaseException]) -> None:
    global _stopped
    _stopped = True


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """After Ctrl-C, wait for no thread: one may hang for as long as its test would have let it."""
    if _stopped:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(pytest.ExitCode.INTERRUPTED)


@pytest.fixture(autouse=True, scope="session")
def _nothing_of_the_developer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(request.config.cache.mkdir("models")))
        patch.setenv("MODULAR_PLURALISM_STORE", str(tmp_path_factory.mktemp("store") / "runs.sqlite"))
        yield


@pytest.fixture(scope="session")
def demo_gguf(request: pytest.FixtureRequest) -> Path:
    """The demo model's weights. Pools use them as they are prepared where that pays, as most users' do: reading takes
    half the time. Kept in pytest's own cache; `model_cache` is for tests of the preparation.
    """
    with FileLock(request.config.cache.mkdir("models") / "lock"):
        if "AVX512_BF16" in instructions() and find_entry(DEMO_GGUF) is None:
            short = SpeedSample(prompt=32, together=4, alone=4)  # whatever comes out is taken
            prepare(DEMO_GGUF, forced="BF16", thoroughness=Thoroughness(rounds=1, texts=2, speed=short))
    return DEMO_GGUF


@pytest.fixture
def model_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's cache of prepared models, which is empty."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder / "prepared"
