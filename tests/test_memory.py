"""What a model takes of the memory and where, which models are refused, and what the hardware's keys do."""

from __future__ import annotations

from pathlib import Path

import pytest

from modular_pluralism import Pool, PoolModels
from modular_pluralism.errors import ModelLoadError, PoolError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama import ChatLlama, Engine, EngineSettings, GenerationRequest, Sampling, slot_budget
from modular_pluralism.llama.devices import Device, devices
from modular_pluralism.llama.generation import Piece
from modular_pluralism.llama.memory import DeviceMemory, MemoryPlan, fits, most_layers, plan_memory, read_plan
from modular_pluralism.llama.parameters import OUTPUTS, check_hardware
from modular_pluralism.llama.slot_budget import affordable_slots
from tests.architectures import ARCHITECTURES, NO_DECODERS, Architecture, write_architecture
from tests.model_table import PROMPTS
from tests.plain_llama import greedy
from tests.tiny_gguf import write_beginning
from tests.training_models import write_tiny
from tests.vendored import vocabulary

_MIB = 1 << 20
_GIB = 1 << 30
_BY_NAME = {architecture.name: architecture for architecture in ARCHITECTURES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def _model(folder: Path, name: str, context: int = 4096) -> Path:
    path = folder / f"{name}-{context}.gguf"
    return path if path.exists() else write_architecture(path, _BY_NAME[name], context=context)


# -- models that write no text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", NO_DECODERS, ids=lambda each: f"{each.name}-{len(each.keys)}")
def test_a_model_that_writes_no_text_is_refused(architecture: Architecture, tmp_path: Path) -> None:
    path = write_architecture(tmp_path / "model.gguf", architecture)
    with pytest.raises(
        ModelLoadError, match=rf"^model.gguf .*{architecture.like}.*; use a GGUF of a model that writes"
    ):
        Engine(EngineSettings(path))


def test_a_file_of_a_vocabulary_alone_is_refused() -> None:
    with pytest.raises(ModelLoadError, match="no weights, only a vocabulary or nothing; use a complete GGUF"):
        Engine(EngineSettings(vocabulary("llama-spm")))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("block_count", 0, "its llama.block_count is 0, and 1 to 512 can be; use a complete GGUF"),
        ("block_count", 2**31, "its llama.block_count is 2147483648, and"),
        ("context_length", 0, "it was trained for 0 tokens; use a complete GGUF"),
        ("context_length", 2**32 - 1, "it was trained for -1 tokens; use"),
    ],
)
def test_a_header_with_counts_that_cannot_be_is_refused_and_ends_no_process(
    tmp_path: Path, key: str, value: int, said: str
) -> None:
    path = write_tiny(tmp_path / "odd.gguf")
    data = path.read_bytes()
    at = data.index(f"llama.{key}".encode()) + len(f"llama.{key}") + 4
    path.write_bytes(data[:at] + value.to_bytes(4, "little") + data[at + 4 :])
    with pytest.raises(ModelLoadError, match=said):
        Engine(EngineSettings(path))


def test_a_file_that_was_cut_off_is_told_as_such(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_beginning(tmp_path / "half.gguf", write_tiny(tmp_path / "whole.gguf"), 1000)
    with pytest.raises(ModelLoadError, match=r"cannot be read as a GGUF file: .*Use a complete file"):
        Engine(EngineSettings(path))
    assert capfd.readouterr().err == ""


# -- what llama.cpp tells ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cells_of_attention", "row"),
    [
        ("llama", 4096 * 2, 2 * 2 * 16 * 2),  # two layers, keys and values of two heads of 16, two bytes each
        ("gemma3", 4096 + 768, 2 * 2 * 16 * 2),  # one layer of windows: 16 tokens and a batch, rounded up
        ("deepseek2", 4096 * 2, (32 + 16) * 2),  # compressed keys alone
        ("lfm2", 4096, 2 * 2 * 16 * 2),  # one layer of two
        ("mamba2", 0, 0),
    ],
)
def test_the_cache_of_a_sequence_is_that_of_its_own_kind(
    folder: Path, name: str, cells_of_attention: int, row: int
) -> None:
    plan = plan_memory(EngineSettings(_model(folder, name), context=4096))
    state = plan.cache - cells_of_attention * row
    assert abs(state) < 0.03 * _MIB if name not in ("mamba2", "lfm2") else 0 < state < 0.1 * _MIB
    assert plan.weights == pytest.approx(_model(folder, name).stat().st_size, rel=0.3)
    assert plan.devices == (plan.on("CPU"),)
    assert plan.layers_on_gpu == 0
    assert plan.compute > 0


def test_a_cache_in_eight_bits_takes_about_half_of_one_in_sixteen_and_is_written_to(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "wide.gguf", hidden=128)
    eight = Hardware(cache_type_k="q8_0", cache_type_v="q8_0")
    plans = [plan_memory(EngineSettings(path, context=4096, hardware=each)) for each in (Hardware(), eight)]
    assert plans[1].cache == pytest.approx(plans[0].cache * 34 / 64, rel=0.05)
    assert len(_texts(path, eight)[-1]) == 8


_WEIGHTS_LOG = """\
load_tensors: layer   0 assigned to device CPU, is_swa = 0
load_tensors: layer   1 assigned to device CUDA0, is_swa = 0
load_tensors: layer   2 assigned to device CUDA1, is_swa = 0
load_tensors: layer   3 assigned to device CUDA1, is_swa = 0
tensor blk.2.ffn_up_exps.weight (300 MiB q4_K) buffer type overridden to CPU""".splitlines()
_CONTEXT_LOG = """\
llama_context:  CUDA_Host  output buffer size =     2.00 MiB
llama_kv_cache: layer   1: dev = CUDA0
llama_kv_cache: layer   2: dev = CUDA1
llama_kv_cache:      CUDA0 KV buffer size =     0.00 MiB
llama_kv_cache: size =  128.00 MiB (  4096 cells,   2 layers,  1/1 seqs), K (f16):   64.00 MiB, V (f16):   64.00 MiB
llama_memory_recurrent, layer   0: dev = CPU
llama_memory_recurrent:        CPU RS buffer size =    16.00 MiB
llama_memory_recurrent: size =   16.00 MiB (     1 cells,   3 layers,  1 seqs  0 rs_seq), R (f32):   16.00 MiB
sched_reserve:      CUDA0 compute buffer size =   100.00 MiB
sched_reserve:      CUDA1 compute buffer size =    50.00 MiB
sched_reserve:  CUDA_Host compute buffer size =     8.00 MiB""".splitlines()
_SIZES = {
    "token_embd.weight": 10,
    "blk.0.attn_q.weight": 1,
    "blk.1.attn_q.weight": 2,
    "blk.2.attn_q.weight": 4,
    "blk.2.ffn_up_exps.weight": 300,
    "output.weight": 20,
}


def test_a_plan_for_two_gpus_says_what_lies_where() -> None:
    plan = read_plan(_WEIGHTS_LOG, _CONTEXT_LOG, _SIZES)
    assert [(each.device, each.weights, each.cache // _MIB, each.compute // _MIB) for each in plan.devices] == [
        ("CPU", 311, 16, 8 + 2 * OUTPUTS),
        ("CUDA0", 2, 64, 100),
        ("CUDA1", 24, 64, 50),
    ]
    assert (plan.layers, plan.layers_on_gpu) == (4, 3)
    assert plan.total(2) == plan.weights + plan.compute + 2 * plan.cache


def test_an_output_without_weights_of_its_own_takes_a_copy_of_the_embeddings_on_a_gpu() -> None:
    tied = {name: size for name, size in _SIZES.items() if name != "output.weight"}
    plan = read_plan(_WEIGHTS_LOG, _CONTEXT_LOG, tied)
    assert (plan.on("CPU").weights, plan.on("CUDA1").weights) == (311, 4 + 10)
    on_host = [line.replace("CUDA1", "CPU").replace("CUDA0", "CPU") for line in _WEIGHTS_LOG]
    assert read_plan(on_host, _CONTEXT_LOG, tied).weights == sum(tied.values())


def test_before_the_weights_are_loaded_their_device_has_less_room_than_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_budget, "gpus", lambda: [_gpu(0, 24 * _GIB)])
    monkeypatch.setattr(slot_budget, "usable_memory", lambda: 64 * _GIB)
    plan = MemoryPlan((DeviceMemory("CPU", _GIB, 0, 0), DeviceMemory("CUDA0", 20 * _GIB, _GIB // 4, 0)), 33, 33)
    settings = EngineSettings(Path("large.gguf"))
    assert affordable_slots(settings, plan, 2048) == 48
    assert affordable_slots(settings, plan, 2048, loaded=False) == 8  # half of the 4 GiB that will be free
    on_host = MemoryPlan((DeviceMemory("CPU", 60 * _GIB, _GIB, 0),), 33, 0)
    assert affordable_slots(settings, on_host, 2048, loaded=False) == 32
    read = EngineSettings(Path("large.gguf"), hardware=Hardware(mmap=False))
    assert affordable_slots(read, on_host, 2048, loaded=False) == 2


def test_a_log_that_tells_nothing_is_an_error() -> None:
    with pytest.raises(ModelLoadError, match="does not tell how much memory a model takes; install"):
        read_plan([], _CONTEXT_LOG, _SIZES)


# -- what fits on recorded devices -------------------------------------------------------------------------------------


def _gpu(number: int, free: int) -> Device:
    return Device(f"CUDA{number}", "NVIDIA H200", "GPU", free, 139 * _GIB)


def _plan_of(layers: int) -> MemoryPlan:
    """32 layers of one GiB and a quarter of one for the cache."""
    on_gpu = DeviceMemory("CUDA0", layers * _GIB, layers * _GIB // 4, _GIB // 2)
    return MemoryPlan((DeviceMemory("CPU", (32 - layers) * _GIB, 0, 0), on_gpu), 32, layers)


def test_a_plan_says_whether_cache_lies_on_a_gpu() -> None:
    assert [_plan_of(layers).caches_on_gpu for layers in (0, 1, 32)] == [False, True, True]


@pytest.mark.parametrize(("free", "layers"), [(139, 32), (42, 32), (41, 31), (12, 8), (2, 0)])
def test_as_many_layers_lie_on_a_gpu_as_it_holds(free: int, layers: int) -> None:
    device = [_gpu(0, free * _GIB)]
    found = 32 if fits(_plan_of(32), device) else most_layers(32, lambda layers: fits(_plan_of(layers), device))
    assert found == layers


def test_there_is_as_much_room_for_the_cache_as_the_fullest_device_has() -> None:
    plan = read_plan(_WEIGHTS_LOG, _CONTEXT_LOG, _SIZES)
    free = {"CPU": _GIB, "CUDA0": 740 * _MIB, "CUDA1": 50 * _GIB}
    assert plan.room_for_cache(free) == pytest.approx(10 * plan.cache, rel=1e-3)
    assert plan.room_for_cache({"CPU": 32 * _MIB}) == pytest.approx(2 * plan.cache, rel=1e-3)
    assert plan.room_for_cache({}) is None


@pytest.mark.parametrize(
    ("hardware", "said"),
    [
        (Hardware(gpu_layers="all"), "gpu_layers is 'all', and llama.cpp finds no GPU here; leave it out, or install"),
        (Hardware(gpu_layers=12), "gpu_layers is 12, and"),
        (Hardware(main_gpu=1), "main_gpu and tensor_split need a GPU"),
        (Hardware(tensor_split=(1, 1)), "main_gpu and tensor_split need a GPU"),
        (Hardware(override_tensors=("exps=CUDA9",)), "names 'CUDA9', which is none of this machine's devices: CPU"),
        (Hardware(override_tensors=("(=CPU",)), "is no regular expression"),
        (Hardware(flash_attention="off", cache_type_v="q8_0"), "quantiz.*change the cache's type or flash_attention"),
    ],
)
def test_what_cannot_be_had_here_is_told(folder: Path, hardware: Hardware, said: str) -> None:
    if any(device.is_gpu for device in devices()) and not hardware.override_tensors:
        pytest.skip("this machine has a GPU")
    with pytest.raises(ModelLoadError, match=said):
        plan_memory(EngineSettings(_model(folder, "llama"), hardware=hardware))


@pytest.mark.parametrize(
    ("hardware", "said"),
    [(Hardware(main_gpu=2), "there are 2 GPUs; they count from 0"), (Hardware(tensor_split=(1, 1, 1)), "one for each")],
)
def test_gpus_that_are_not_there_are_told(hardware: Hardware, said: str) -> None:
    with pytest.raises(ModelLoadError, match=said):
        check_hardware(hardware, [_gpu(0, _GIB), _gpu(1, _GIB)])
    check_hardware(Hardware(main_gpu=1, tensor_split=(3, 1), gpu_layers="all"), [_gpu(0, _GIB), _gpu(1, _GIB)])


# -- the keys on this machine ------------------------------------------------------------------------------------------


def _texts(path: Path, hardware: Hardware) -> list[list[int]]:
    engine = Engine(EngineSettings(path, context=512, slots=2, threads=1, audit=True, hardware=hardware))
    try:
        requests = (
            GenerationRequest(tuple(prompt), max_tokens=8, sampling=Sampling(temperature=0), ignore_end=True)
            for prompt in PROMPTS
        )
        events = [engine.generate(request) for request in requests]
    finally:
        engine.close()
    return [[token for event in each if isinstance(event, Piece) for token in event.tokens] for each in events]


@pytest.mark.parametrize(
    ("name", "hardware"),
    [
        ("llama", Hardware(mmap=False, ubatch=64, threads_batch=2, flash_attention="on")),
        ("llama", Hardware(flash_attention="off")),
        ("llama", Hardware(cache_type_k="f32", cache_type_v="f32", gpu_layers=0)),
        ("qwen3moe", Hardware(cpu_moe=True, override_tensors=("attn_.*=CPU",))),
        ("gemma3", Hardware(swa_full=True, ubatch=64)),
    ],
)
def test_keys_that_say_where_or_how_a_model_is_computed_change_no_text(
    folder: Path, name: str, hardware: Hardware
) -> None:
    path = _model(folder, name)
    assert _texts(path, hardware) == greedy(path, PROMPTS, 8, flash=hardware.flash_attention != "off")


@pytest.mark.parametrize(
    "hardware", [Hardware(rope_freq_base=100.0), Hardware(rope_scaling="linear", rope_scale=4.0)], ids=["base", "scale"]
)
def test_keys_of_the_positions_reach_llama_cpp(folder: Path, hardware: Hardware) -> None:
    path = _model(folder, "llama")
    assert _texts(path, hardware) != greedy(path, PROMPTS, 8)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rope_scale = 1e308", "rope_scale must be at most 1024"),
        ("rope_scale = 1e-9", "rope_scale must be at least 1"),
        ("rope_freq_base = 1e300", "rope_freq_base must be at most"),
        ("rope_scale = nan", "rope_scale must be"),
        ("tensor_split = 3", "tensor_split must be a list in brackets, not 3"),
        ('override_tensors = "exps=CPU"', "override_tensors must be a list in brackets, not 'exps=CPU'"),
    ],
)
def test_values_that_llama_cpp_cannot_reckon_with_are_refused(line: str, said: str) -> None:
    with pytest.raises(PoolError, match=said):
        Pool.from_toml(_POOL.format(keys=line), source="pool.toml", folder=Path())


def test_a_scaled_model_has_a_longer_context_than_it_was_trained_for(folder: Path) -> None:
    path = _model(folder, "llama", context=512)
    hardware = Hardware(rope_scaling="yarn", rope_scale=4.0)
    engines = [Engine(EngineSettings(path, context=4096, slots=1, hardware=each)) for each in (Hardware(), hardware)]
    assert [engine.context for engine in engines] == [512, 2048]
    for engine in engines:
        engine.close()


_POOL = """\
base = "small"
[models.small]
gguf = "small.gguf"
{keys}
[communities.one]
model = "small"
description = "One"
"""


def test_a_pool_says_how_its_model_is_laid_out(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF")
    file = tmp_path / "pool.toml"
    file.write_text(_POOL.format(keys='gpu_layers = "all"\ntensor_split = [3, 1.5]\ncache_type_k = "q8_0"'))
    chat = PoolModels(Pool.load(file)).base().chat
    assert isinstance(chat, ChatLlama)
    assert chat.hardware == Hardware(gpu_layers="all", tensor_split=(3.0, 1.5), cache_type_k="q8_0")
    assert chat.pluralism_identity()[-1] == {"cache_type_k": "q8_0"}


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("gpu_layers = -1", "must be 'auto', 'all' or a number of layers"),
        ('cache_type_v = "q3"', "'q8_0'"),
        ('override_tensors = ["exps"]', "must be texts such as"),
    ],
)
def test_a_wrong_key_of_the_hardware_is_told(tmp_path: Path, key: str, said: str) -> None:
    file = tmp_path / "pool.toml"
    file.write_text(_POOL.format(keys=key))
    with pytest.raises(PoolError, match=said) as told:
        Pool.load(file)
    assert key.split()[0] in str(told.value)
