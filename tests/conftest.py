"""No test sees the models that a developer has prepared or the runs that are kept, nor those of another test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from modular_pluralism.prepared.cache import FOLDER_VARIABLE, find_entry
from modular_pluralism.prepared.prepare import Thoroughness, prepare
from modular_pluralism.prepared.processor import instructions
from tests.demo_model import DEMO_GGUF

# An example that takes long says something about the machine.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="session")
def _nothing_of_the_developer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Pools use the demo model as it is prepared where that pays, as most users' do: the suite takes half the time.

    Kept in pytest's own cache; `model_cache` is for tests of the preparation.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(request.config.cache.mkdir("models")))
        patch.setenv("MODULAR_PLURALISM_STORE", str(tmp_path_factory.mktemp("store") / "runs.sqlite"))
        if "AVX512_BF16" in instructions() and find_entry(DEMO_GGUF) is None:
            prepare(DEMO_GGUF, forced="BF16", thoroughness=Thoroughness(rounds=1, texts=4))
        yield


@pytest.fixture
def model_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's cache of prepared models, which is empty."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder / "prepared"
