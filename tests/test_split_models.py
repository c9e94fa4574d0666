"""A model in several files is one model: it says the same, counts whole, and is prepared and trained as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from modular_pluralism import Community, EmbeddedModel, Pool
from modular_pluralism.errors import ModelLoadError, TrainingError
from modular_pluralism.evaluation.run.facts import model_files
from modular_pluralism.llama import ChatLlama, close_engines
from modular_pluralism.llama.gguf_parts import latest_change, size_of
from modular_pluralism.llama.memory import plan_memory
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.settings import EngineSettings
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.prepared.cache import find_entry, prepared_file
from modular_pluralism.prepared.prepare import prepare
from modular_pluralism.training.base_model import load_base
from modular_pluralism.training.gguf_adapter import read_base
from tests.model_stores import write_hub_cache
from tests.split_gguf import write_split
from tests.training_models import write_tiny


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("whole") / "tiny.gguf")


@pytest.fixture
def split(whole: Path, tmp_path: Path) -> Iterator[Path]:
    """The first of three parts, which lie in the hub's cache as links to nameless files."""
    yield write_hub_cache(tmp_path / "hub", "o/r", write_split(whole, tmp_path / "tiny.gguf")) / (
        "tiny-00001-of-00003.gguf"
    )
    close_engines()


def small_pool(gguf: Path) -> Pool:
    model = EmbeddedModel(gguf=str(gguf), context=128, slots=1, temperature=0)
    return Pool(base="m", models={"m": model}, communities={"c": Community(model="m", description="somebody")})


def test_it_says_what_the_whole_file_says(whole: Path, split: Path) -> None:
    chats = [PoolModels(small_pool(path)).base().chat for path in (whole, split)]
    said = [chat.invoke("Tea?", max_tokens=8).content for chat in chats]
    assert said[0]
    assert said[0] == said[1]


def test_all_parts_count(whole: Path, split: Path) -> None:
    assert size_of(split) > size_of(whole) > split.stat().st_size
    plans = [plan_memory(EngineSettings(path, context=128)) for path in (whole, split)]
    assert plans[0] == plans[1]
    pool = small_pool(split)
    files = model_files(pool, PoolModels(pool))
    assert files == [f"{split.name} {size_of(split)}"]
    assert read_base(split).tensors == read_base(whole).tensors


def test_an_incomplete_one_is_told_before_it_is_loaded(split: Path) -> None:
    later = split.with_name("tiny-00003-of-00003.gguf")
    with pytest.raises(ModelLoadError, match=r"is part 3 of 3 of a split model; name the first part, tiny-00001"):
        ModelFile(later)
    later.unlink()
    for load in (ModelFile, lambda path: ChatLlama(gguf=path).engine):
        with pytest.raises(ModelLoadError, match=r"and tiny-00003-of-00003\.gguf is not in /.*; put all of them into"):
            load(split)


def test_parts_without_their_names_are_told_with_llama_cpps_reason(split: Path, tmp_path: Path) -> None:
    (tmp_path / "renamed.gguf").symlink_to(split.resolve())
    with pytest.raises(ModelLoadError, match=r"cannot be loaded: .*invalid split file name"):
        ModelFile(tmp_path / "renamed.gguf")


def test_it_is_prepared_as_one_model(split: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODULAR_PLURALISM_CACHE", str(tmp_path / "cache"))
    entry = prepare(split, forced="Q8_0").entry
    assert (entry.source.bytes, entry.source.path) == (size_of(split), str(split))
    made = prepared_file(split)
    assert made is not None
    assert made.name == "tiny.as-Q8_0.gguf"
    model = ModelFile(made)
    assert "split.count" not in model.metadata or model.metadata["split.count"] == "0"
    model.close()

    later = split.with_name("tiny-00002-of-00003.gguf")
    os.utime(later, ns=(latest_change(split) + 10**9,) * 2)
    assert find_entry(split) is not None  # touched, with the same content
    data = bytearray(later.read_bytes())
    data[-1] ^= 1
    later.resolve().write_bytes(data)
    os.utime(later, ns=(latest_change(split) + 10**9,) * 2)
    assert find_entry(split) is None


def test_training_says_to_merge_it(split: Path) -> None:
    with pytest.raises(TrainingError, match=r"tiny-00001-of-00003\.gguf is one of 3; merge them first"):
        load_base(split)
