"""No test sees the models that a developer has prepared or the runs that are kept, nor those of another test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modular_pluralism.prepared.cache import FOLDER_VARIABLE


@pytest.fixture(autouse=True, scope="session")
def _no_cache_of_the_developer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """For fixtures that live longer than a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MODULAR_PLURALISM_STORE", str(tmp_path_factory.mktemp("store") / "runs.sqlite"))
        yield


@pytest.fixture(autouse=True)
def model_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's cache of prepared models, which is empty."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder / "prepared"
