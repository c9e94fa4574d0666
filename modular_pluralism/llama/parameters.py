"""llama.cpp's parameters of a model and of a context, from the settings of an engine."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from typing import Any

from llama_cpp import llama_cpp as native

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.devices import Device, buffer_type, devices

OUTPUTS = 128
"""Most rows of logits of one decode; llama.cpp keeps a buffer of vocabulary size for each."""

_EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
_SPLIT_MODES = {
    "none": native.LLAMA_SPLIT_MODE_NONE,
    "layer": native.LLAMA_SPLIT_MODE_LAYER,
    "row": native.LLAMA_SPLIT_MODE_ROW,
}
_LOAD_MODES = {
    (False, False): native.LLAMA_LOAD_MODE_NONE,
    (True, False): native.LLAMA_LOAD_MODE_AUTO,
    (False, True): native.LLAMA_LOAD_MODE_MLOCK,
    (True, True): native.LLAMA_LOAD_MODE_MMAP_MLOCK,
}
"""By (mmap, mlock)."""
_FLASH_ATTENTION = {
    # Without it a token's attention depends on how many are read with it; llama.cpp leaves it out where a GPU has none.
    "auto": native.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": native.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": native.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
_ROPE_SCALING = {
    None: native.LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED,
    "none": native.LLAMA_ROPE_SCALING_TYPE_NONE,
    "linear": native.LLAMA_ROPE_SCALING_TYPE_LINEAR,
    "yarn": native.LLAMA_ROPE_SCALING_TYPE_YARN,
}


class _Override(ctypes.Structure):
    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def check_hardware(hardware: Hardware, gpus: Sequence[Device]) -> None:
    """Raise ModelLoadError where these keys want what the machine, or this build of llama.cpp, has not."""
    wanted = hardware.gpu_layers
    if not gpus and wanted not in ("auto", 0):
        raise ModelLoadError(
            f"gpu_layers is {wanted!r}, and llama.cpp finds no GPU here; leave it out, or install llama-cpp-python "
            "built for your GPU."
        )
    if not gpus and (hardware.main_gpu or hardware.tensor_split):
        raise ModelLoadError("main_gpu and tensor_split need a GPU, and llama.cpp finds none here; leave them out.")
    if gpus and hardware.main_gpu >= len(gpus):
        raise ModelLoadError(f"main_gpu is {hardware.main_gpu}, and there are {len(gpus)} GPUs; they count from 0.")
    if len(hardware.tensor_split) > len(gpus):
        raise ModelLoadError(
            f"tensor_split has {len(hardware.tensor_split)} proportions, and there are {len(gpus)} GPUs; give one for "
            "each."
        )


def model_parameters(hardware: Hardware, gpu_layers: int) -> Any:
    """For `llama_model_load_from_file`, with so many layers on GPUs (-1 for all).

    Raises:
        ModelLoadError: a tensor is to lie in a buffer that this build of llama.cpp does not know, or the pattern is no
            regular expression.
    """
    parameters = native.llama_model_default_params()
    parameters.n_gpu_layers = gpu_layers
    parameters.split_mode = _SPLIT_MODES[hardware.split_mode]
    parameters.main_gpu = hardware.main_gpu
    parameters.load_mode = _LOAD_MODES[hardware.mmap, hardware.mlock]
    if hardware.tensor_split:
        parameters.tensor_split = (ctypes.c_float * native.llama_max_devices())(*hardware.tensor_split)
    overrides = [*hardware.override_tensors, *([f"{_EXPERTS}=CPU"] if hardware.cpu_moe else [])]
    if overrides:
        table = (_Override * (len(overrides) + 1))(*map(_override, overrides))
        parameters.kept = table  # the structure holds the address alone
        parameters.tensor_buft_overrides = ctypes.cast(table, ctypes.c_void_p)
    return parameters


def _override(override: str) -> _Override:
    pattern, _, buffer = override.rpartition("=")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ModelLoadError(f"override_tensors has {pattern!r}, which is no regular expression: {error}.") from None
    kind = buffer_type(buffer)
    if kind is None:
        known = ", ".join(device.name for device in devices())
        raise ModelLoadError(f"override_tensors names {buffer!r}, which is none of this machine's devices: {known}.")
    return _Override(pattern.encode(), kind)


def context_parameters(hardware: Hardware, *, streams: int, length: int, threads: int) -> Any:
    """For `llama_init_from_model`: `streams` sequences of up to `length` tokens, each with a stream of its own."""
    parameters = native.llama_context_default_params()
    parameters.n_ctx = streams * length
    parameters.n_batch = parameters.n_ubatch = hardware.ubatch
    parameters.n_seq_max = streams
    parameters.n_outputs_max = OUTPUTS
    parameters.n_threads = threads
    parameters.n_threads_batch = hardware.threads_batch or threads
    parameters.kv_unified = False
    parameters.flash_attn_type = _FLASH_ATTENTION[hardware.flash_attention]
    parameters.type_k = _cache_type(hardware.cache_type_k)
    parameters.type_v = _cache_type(hardware.cache_type_v)
    parameters.swa_full = hardware.swa_full
    parameters.rope_scaling_type = _ROPE_SCALING[hardware.rope_scaling]
    if hardware.rope_scale is not None:
        parameters.rope_freq_scale = 1 / hardware.rope_scale
    if hardware.rope_freq_base is not None:
        parameters.rope_freq_base = hardware.rope_freq_base
    parameters.no_perf = True
    return parameters


def vector_parameters(hardware: Hardware, *, length: int, batch: int, texts: int, threads: int, pooling: int) -> Any:
    """For a context that gives vectors: up to `length` tokens of up to `texts` texts, `batch` of them at once."""
    parameters = context_parameters(hardware, streams=1, length=length, threads=threads)
    parameters.embeddings = True
    parameters.pooling_type = pooling
    parameters.n_batch = parameters.n_ubatch = parameters.n_outputs_max = batch
    parameters.n_seq_max = texts
    parameters.kv_unified = True  # many short texts or a long one, in the same cells
    return parameters


def _cache_type(name: str) -> int:
    return int(getattr(native, f"GGML_TYPE_{name.upper()}"))
