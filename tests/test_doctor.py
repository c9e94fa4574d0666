"""`pluralism doctor`: the machine, what llama.cpp is built for, and what a pool's models will take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from modular_pluralism.cli import doctor
from modular_pluralism.llama import backends
from modular_pluralism.llama.backends import SeenGpu, build_command, missing_backends
from modular_pluralism.llama.devices import Device
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.gguf_parts import size_of
from modular_pluralism.llama.memory import DeviceMemory, MemoryPlan
from modular_pluralism.llama.settings import EngineSettings
from modular_pluralism.models.model_needs import ModelNeeds, model_needs
from modular_pluralism.pool import Pool
from tests.architectures import Architecture, write_architecture
from tests.command import pluralism
from tests.split_gguf import write_split
from tests.training_models import write_tiny

POOL = """
base = "whole"
[models.whole]
gguf = "tiny.gguf"
context = 256
[models.warm]
gguf = "./tiny.gguf"
context = 256
temperature = 1.0
[models.split]
gguf = "split"
slots = 2
[models.gone]
gguf = "gone.gguf"
[models.hub]
gguf = "hf:owner/not-fetched:Q4_K_M"
[models.remote]
openai = "gpt-4o-mini"
base_url = "http://127.0.0.1:9/v1"
[models.keyless]
openai = "gpt-4o-mini"
api_key_env = "NO_SUCH_KEY_IS_SET"
[communities.c]
model = "whole"
description = "somebody"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pool file with models of every kind."""
    folder = tmp_path_factory.mktemp("doctor")
    write_tiny(folder / "tiny.gguf")
    (folder / "split").mkdir()
    write_split(folder / "tiny.gguf", folder / "split" / "tiny.gguf")
    (folder / "pool.toml").write_text(POOL)
    return folder


def test_each_model_is_told_with_what_it_takes_or_why_it_cannot_be_opened(folder: Path) -> None:
    ended = pluralism("doctor", "pool.toml", "--json", cwd=folder)
    assert (ended.returncode, ended.stderr) == (1, "")
    told = json.loads(ended.stdout)
    assert "CPU" in told["backends"]
    assert any(device["kind"] == "CPU" and device["free"] == told["usable_memory"] for device in told["devices"])
    models = {model["name"]: model for model in told["pool"]["models"]}
    assert list(models) == ["whole", "warm", "split", "gone", "hub", "remote", "keyless"]
    assert {name for name, model in models.items() if model["problem"] is None} == {"whole", "warm", "split", "remote"}
    assert models["gone"]["problem"].startswith(f"There is no file {folder / 'gone.gguf'};")
    assert models["hub"]["problem"].endswith("is not on this machine yet; it is downloaded when it is first used.")
    assert "NO_SUCH_KEY_IS_SET" in models["keyless"]["problem"]
    assert models["warm"]["shares"] == "whole"
    split = models["split"]
    parts = folder / "split" / "tiny-00001-of-00003.gguf"
    assert (split["file"], split["files"], split["bytes"], split["slots"]) == (str(parts), 3, size_of(parts), 2)
    assert split["architecture"] == "llama"
    assert split["devices"][0]["weights"] == models["whole"]["devices"][0]["weights"] > 0


def test_what_is_told_is_what_the_engine_takes(folder: Path) -> None:
    needs = model_needs(Pool.load(folder / "pool.toml"))[0]
    assert needs.settings is not None
    engine = Engine(needs.settings)
    try:
        assert (engine.stats.slots, engine.memory) == (needs.slots, needs.plan)
    finally:
        engine.close()


def test_an_embedding_model_is_told_with_its_weights_unless_it_is_to_answer(tmp_path: Path) -> None:
    write_tiny(tmp_path / "tiny.gguf")
    bert = Architecture("bert", {"attention.causal": False, "tokenizer.ggml.token_type_count": 2, "pooling_type": 1})
    write_architecture(tmp_path / "vectors.gguf", bert)
    tables = '[models.tiny]\ngguf = "tiny.gguf"\n[models.vectors]\ngguf = "vectors.gguf"\n'
    for answers, problem in (("tiny", False), ("vectors", True)):
        asked = f'base = "tiny"\n{tables}[communities.c]\nmodel = "{answers}"\ndescription = "somebody"\n'
        needs = model_needs(Pool.from_toml(asked, source="my.toml", folder=tmp_path))[1]
        assert (needs.problem is not None, needs.slots) == (problem, 0)
        assert problem or (needs.plan is not None and needs.plan.weights > 0)


def test_the_list_for_people_has_a_line_for_each_model(folder: Path) -> None:
    ended = pluralism("doctor", "pool.toml", cwd=folder)
    assert (ended.returncode, ended.stderr) == (1, "")
    lines = ended.stdout.splitlines()
    for line in (
        "whole: tiny.gguf, llama, unknown, 0 of 3 layers on GPUs",
        "warm: shares the weights and the cache of whole",
        "split: tiny-00001-of-00003.gguf and 2 more files, llama, unknown, 0 of 3 layers on GPUs",
        "remote: remote, not asked",
    ):
        assert line in lines
    assert [line.partition(":")[0] for line in lines if ": FAILED, " in line] == ["gone", "hub", "keyless"]


def test_a_machine_alone_and_wrong_calls() -> None:
    alone = pluralism("doctor", "--build", "vulkan")
    assert alone.returncode == 0
    assert f"  {build_command('vulkan')}\n" in alone.stdout
    assert "-DGGML_VULKAN=on" in build_command("vulkan")
    wrong = pluralism("doctor", "--build", "abacus")
    assert (wrong.returncode, "none of metal, cuda, rocm, vulkan" in wrong.stderr) == (2, True)
    none = pluralism("doctor", "none.toml")
    assert (none.returncode, none.stdout) == (2, "")


NVIDIA, AMD, AMD_AS_WELL = SeenGpu("cuda", "/dev/nvidiactl"), SeenGpu("rocm", "/dev/kfd"), SeenGpu("vulkan", "card0")
APPLE = SeenGpu("metal", "an Apple processor")


@pytest.mark.parametrize(
    ("seen", "compiled", "missing"),
    [
        ([], ["CPU"], []),
        ([NVIDIA], ["CPU"], ["cuda"]),
        ([NVIDIA], ["CUDA", "CPU"], []),
        ([NVIDIA], ["Vulkan", "CPU"], []),
        ([AMD, AMD_AS_WELL], ["CPU"], ["rocm", "vulkan"]),
        ([AMD, AMD_AS_WELL], ["ROCm", "CPU"], []),
        ([AMD, NVIDIA], ["CUDA", "CPU"], ["rocm"]),
        ([APPLE], ["BLAS", "CPU"], ["metal"]),
        ([APPLE], ["MTL", "BLAS", "CPU"], []),
    ],
)
def test_gpus_that_the_build_does_not_use(seen: list[SeenGpu], compiled: list[str], missing: list[str]) -> None:
    assert [gpu.backend for gpu in missing_backends(seen, compiled)] == missing


def test_gpus_are_seen_by_their_vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for card, vendor in (("card0", "0x8086"), ("card1", "0x1002"), ("card2", "0x1234")):
        (tmp_path / card / "device").mkdir(parents=True)
        (tmp_path / card / "device" / "vendor").write_text(f"{vendor}\n")
    monkeypatch.setattr(backends, "_DRM", tmp_path)
    monkeypatch.setattr(backends, "_DRIVERS", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert backends.seen_gpus() == [
        SeenGpu("vulkan", "card0 of vendor 0x8086"),
        SeenGpu("rocm", "card1 of vendor 0x1002"),
    ]
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert SeenGpu("cuda", str(program)) in backends.seen_gpus()


GIB = 1 << 30
H200 = Device("CUDA0", "NVIDIA H200", "GPU", 138 * GIB, 140 * GIB)
HOST = Device("CPU", "AMD EPYC", "CPU", 100 * GIB, 128 * GIB)


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What is printed of a model on recorded devices."""
    monkeypatch.setenv("COLUMNS", "120")

    def show(slots: int) -> str:
        lies = (
            DeviceMemory("CPU", weights=GIB // 2, cache=0, compute=GIB // 8),
            DeviceMemory("CUDA0", weights=60 * GIB, cache=GIB, compute=2 * GIB),
        )
        plan, path = MemoryPlan(lies, layers=81, layers_on_gpu=81), Path("llama-70b.gguf")
        needs = ModelNeeds("big", path, "llama", "Q6_K", EngineSettings(path), plan, slots)
        doctor._print_needs([needs], [H200, HOST])
        return capsys.readouterr().out

    return show


def test_what_lies_on_a_gpu_is_told_apart(shown: Callable[..., str]) -> None:
    told = shown(slots=48)
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in told.splitlines() if "big " in line]
    assert cells == [
        ["big", "CPU", "0.50 GiB", "0.00 GiB", "0.12 GiB", "48", "0.62 GiB"],
        ["big", "CUDA0", "60.00 GiB", "1.00 GiB", "2.00 GiB", "48", "110.00 GiB"],
    ]
    assert "big: llama-70b.gguf, llama, Q6_K, 81 of 81 layers on GPUs" in told
    assert "Together" not in told


def test_what_does_not_fit_together_is_told(shown: Callable[..., str]) -> None:
    assert "Together they take 142.00 GiB on CUDA0, of which 138.00 GiB are free; lower slots" in shown(slots=80)
