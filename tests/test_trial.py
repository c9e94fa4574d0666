"""A damaged or hostile file ends a process that tries it, and none of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.home import CACHE_VARIABLE
from modular_pluralism.llama import Engine, EngineSettings, LlamaEmbeddings, trial
from modular_pluralism.llama.model_file import ModelFile
from tests.architectures import NO_DECODERS, write_architecture
from tests.fuzz_gguf import fuzz
from tests.tiny_gguf import write_lora
from tests.training_models import write_tiny

EPSILON = b"llama.attention.layer_norm_rms_epsilon"


@pytest.fixture
def trials(model_cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The files of each trial of this test, which knows of none before it."""
    monkeypatch.setattr(trial, "_tried", set())
    started: list[list[str]] = []
    run = subprocess.run

    def noted(program: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        started.append([Path(each).name for each in program[6:]])
        return run(program, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(subprocess, "run", noted)
    return started


def damaged(path: Path, key: bytes, value: bytes) -> Path:
    """The file with another value of a key, of the same length."""
    data = path.read_bytes()
    at = data.index(key) + len(key) + 4
    path.write_bytes(data[:at] + value + data[at + len(value) :])
    return path


def test_a_file_with_which_llama_cpp_ends_its_process_is_refused_in_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = damaged(write_tiny(tmp_path / "odd.gguf"), EPSILON, b"\0\0\x80\xbf")
    for load in (lambda: Engine(EngineSettings(path)), lambda: LlamaEmbeddings(gguf=path).embed_query("rain")):
        with pytest.raises(ModelLoadError, match=r"odd\.gguf cannot be loaded: .*GGML_ASSERT\(eps >= 0.*Use a "):
            load()
    assert capfd.readouterr().err == ""


def test_a_model_whose_layers_are_all_windows_is_refused_where_llama_cpp_cannot_read_with_it(tmp_path: Path) -> None:
    architecture = next(each for each in NO_DECODERS if each.name == "gemma-embedding")
    path = write_architecture(tmp_path / "windows.gguf", architecture)
    with pytest.raises(ModelLoadError, match=r"windows\.gguf cannot be loaded: .*\(GGML_ASSERT\(buffer\) failed\)"):
        LlamaEmbeddings(gguf=path).embed_query("rain")


def test_a_file_is_tried_once_and_another_that_holds_the_same_is_not(
    tmp_path: Path, trials: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiny(tmp_path / "one.gguf", name="only here")
    adapter = write_lora(tmp_path / "lora.gguf", seed=3)
    settings = EngineSettings(path, context=64)
    Engine(settings).close()
    Engine(settings).close()
    assert trials == [["one.gguf"]]
    Engine(EngineSettings(path, context=64, adapters=(adapter,))).close()
    assert trials[1:] == [["one.gguf", "lora.gguf"]]
    monkeypatch.setattr(trial, "_tried", set())  # as in another process
    other = tmp_path / "other.gguf"
    other.write_bytes(path.read_bytes())
    ModelFile(other).close()
    assert len(trials) == 2
    other.write_bytes(path.read_bytes().replace(b"only here", b"only once"))
    ModelFile(other).close()
    assert trials[2:] == [["other.gguf"]]


def test_a_large_file_is_known_by_its_place_and_times(
    tmp_path: Path, trials: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_SMALL", 1000)
    path = write_tiny(tmp_path / "large.gguf")
    for _ in range(2):
        ModelFile(path).close()
    assert len(trials) == 1
    os.utime(path, ns=(1, 1))
    ModelFile(path).close()
    assert len(trials) == 2


def test_where_no_cache_can_be_written_each_process_tries_a_file_once(
    tmp_path: Path, trials: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    path = write_tiny(tmp_path / "tiny.gguf")
    for _ in range(2):
        ModelFile(path).close()
    assert len(trials) == 1
    monkeypatch.setattr(trial, "_tried", set())
    ModelFile(path).close()
    assert len(trials) == 2


def test_a_file_that_is_refused_is_told_as_ever_and_not_taken_for_tried(
    tmp_path: Path, trials: list[list[str]]
) -> None:
    path = damaged(write_tiny(tmp_path / "odd.gguf"), b"llama.rope.dimension_count", b"\x07\0\0\0")
    for _ in range(2):
        with pytest.raises(ModelLoadError, match=r"cannot be loaded: .*invalid n_rot: 7"):
            ModelFile(path)
    assert len(trials) == 2


def test_a_trial_that_comes_to_no_end_is_ended(
    tmp_path: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_tried", set())
    monkeypatch.setattr(trial, "_SECONDS", 0)
    with pytest.raises(ModelLoadError, match=r"with it llama\.cpp comes to no end within 0 seconds"):
        ModelFile(write_tiny(tmp_path / "slow.gguf"))


def test_where_no_process_can_be_started_that_is_told(
    tmp_path: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_tried", set())
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(ModelLoadError, match="cannot be tried in a process of its own before it is loaded"):
        ModelFile(write_tiny(tmp_path / "tiny.gguf"))


def test_an_adapter_with_which_the_process_ends_is_named(tmp_path: Path) -> None:
    base = write_tiny(tmp_path / "base.gguf")
    adapter = write_lora(tmp_path / "odd.gguf", seed=4)
    data = bytearray(adapter.read_bytes())
    at = data.index(b"blk.0.attn_q.weight.lora_a") + len(b"blk.0.attn_q.weight.lora_a") + 4 + 16
    assert data[at : at + 4] == b"\0\0\0\0"  # its type: numbers of 32 bits
    data[at : at + 4] = (26).to_bytes(4, "little")  # whole numbers, of the same size
    adapter.write_bytes(data)
    with pytest.raises(ModelLoadError, match=r"The adapter .*odd\.gguf is damaged or does not fit base\.gguf"):
        Engine(EngineSettings(base, context=64, adapters=(adapter,)))


def test_no_damaged_header_ends_the_process(tmp_path: Path) -> None:
    outcomes = fuzz(24, 4, tmp_path)
    assert len(outcomes) == 24, outcomes[-1]
    assert outcomes.count("used") >= 5
    assert sum("llama.cpp ends the process" in outcome for outcome in outcomes) >= 1
    for outcome in outcomes:
        assert outcome == "used" or (outcome.startswith("refused: ") and outcome.endswith(".") and "\n" not in outcome)
