"""What a model will take of the memory, and of which device, as llama.cpp itself reckons before anything is loaded.

llama.cpp can read a file's header, lay out the weights, a context's cache and its buffers, and allocate none of them;
what it then tells is right for every kind of memory that it knows: sliding windows, recurrent states, hybrids of both,
compressed attention. The numbers are in its log alone.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llama_cpp import llama_cpp as native

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.captured_log import CapturedLog, captured_log, reason
from modular_pluralism.llama.devices import Device, gpus, start_backend
from modular_pluralism.llama.gguf_header import read_whole_header
from modular_pluralism.llama.gguf_parts import check_parts
from modular_pluralism.llama.model_kind import check_counts, check_is_decoder
from modular_pluralism.llama.parameters import OUTPUTS, check_hardware, context_parameters, model_parameters
from modular_pluralism.llama.settings import EngineSettings
from modular_pluralism.llama.trial import try_first

HOST = "CPU"
"""What the host's memory is called."""

CELLS = 256
"""llama.cpp rounds the cells of a stream up to a multiple of this."""

_MARGIN = 1 << 30
"""Bytes that are left free on each GPU, as llama-server leaves them."""
_MIB = 1 << 20
_LAYER = re.compile(r"load_tensors: layer\s+(\d+) assigned to device (\S+?),")
_MOVED = re.compile(r"tensor (\S+) \(.*\) buffer type overridden to (\S+)")
_CACHED_LAYER = re.compile(r"layer\s+\d+: dev = (\S+)")
_CACHE = re.compile(r"llama_\w+: .*?(?<!buffer )size =\s*([\d.]+) MiB")
_BUFFER = re.compile(r"(\S+)\s+(compute|output) buffer size =\s*([\d.]+) MiB")


@dataclass(frozen=True)
class DeviceMemory:
    """What lies on one device, in bytes. `device` is llama.cpp's name for it: "CPU" for the host, "CUDA0", "MTL0"."""

    device: str
    weights: int
    cache: int
    """Of one sequence of the settings' longest length."""
    compute: int
    """Buffers for what is computed in one step, whatever the number of sequences."""


@dataclass(frozen=True)
class MemoryPlan:
    """What a model will take, device by device; the host ("CPU") is always among them."""

    devices: tuple[DeviceMemory, ...]
    layers: int
    """Layers of the model, the output included."""
    layers_on_gpu: int
    """Of these, those that lie on another device than the host."""

    @property
    def weights(self) -> int:
        """Bytes of weights on all devices."""
        return sum(device.weights for device in self.devices)

    @property
    def cache(self) -> int:
        """Bytes of cache that one sequence takes on all devices."""
        return sum(device.cache for device in self.devices)

    @property
    def caches_on_gpu(self) -> bool:
        """Whether some of the cache lies on another device than the host."""
        return any(device.cache for device in self.devices if device.device != HOST)

    @property
    def compute(self) -> int:
        """Bytes of compute buffers on all devices."""
        return sum(device.compute for device in self.devices)

    def on(self, device: str) -> DeviceMemory:
        """What lies on the device of that name."""
        return next((each for each in self.devices if each.device == device), DeviceMemory(device, 0, 0, 0))

    def room_for_cache(self, free: Mapping[str, int]) -> int | None:
        """Bytes of cache that there is room for once the weights lie there, with so much free on each device; None
        where nothing is known of any device that holds cache."""
        rooms = [
            max(0, free[each.device] - each.compute * (each.device != HOST)) * self.cache // each.cache
            for each in self.devices
            if each.cache and each.device in free
        ]
        return min(rooms, default=None)

    def total(self, sequences: int) -> int:
        """Bytes on all devices with so many sequences."""
        return self.weights + self.compute + sequences * self.cache


def plan_memory(settings: EngineSettings) -> MemoryPlan:
    """What an engine of these settings would take. Loads no weights: about as long as reading the vocabulary.

    Args:
        settings: The engine's; its `gguf` has to be there already.

    Raises:
        ModelLoadError: the file is missing, no GGUF, or of a model that the engine cannot run; the machine has not the
            GPUs that the settings name; or this build of llama.cpp does not tell what the model would take.
    """
    settings = replace(settings, gguf=check_parts(settings.gguf))
    start_backend()
    found = gpus()
    hardware = settings.hardware
    check_hardware(hardware, found)
    header = read_whole_header(settings.gguf)
    check_counts(header, settings.gguf)
    try_first(settings.gguf, "text", settings.adapters)
    sizes = header.tensors

    def plan(gpu_layers: int) -> MemoryPlan:
        return _plan(settings, gpu_layers, sizes)

    if isinstance(hardware.gpu_layers, int) or not found:
        return plan(0 if isinstance(hardware.gpu_layers, str) else hardware.gpu_layers)
    everything = plan(-1)
    if hardware.gpu_layers == "all" or fits(everything, found):
        return everything
    return plan(most_layers(everything.layers, lambda layers: fits(plan(layers), found)))


def plan_weights(settings: EngineSettings) -> MemoryPlan:
    """Where the weights will lie that give vectors alone: all on a GPU that has room for twice as much, or else in the
    host's memory, where `gpu_layers` says nothing else. The context is not counted.

    Raises:
        ModelLoadError: the file is missing or no GGUF, or the machine has not the GPUs that the settings name.
    """
    start_backend()
    check_hardware(settings.hardware, found := gpus())
    header = read_whole_header(settings.gguf)
    size, wanted = sum(header.tensors.values()), settings.hardware.gpu_layers
    layers = header.values.get(f"{header.text('general.architecture')}.block_count", 0)
    layers = layers + 1 if isinstance(layers, int) else 1
    gpu = found[settings.hardware.main_gpu] if found else None
    if gpu is None or not (wanted == "all" or (wanted == "auto" and 2 * size + _MARGIN <= gpu.free)):
        return MemoryPlan((DeviceMemory(HOST, size, 0, 0),), layers, 0)
    return MemoryPlan((DeviceMemory(HOST, 0, 0, 0), DeviceMemory(gpu.name, size, 0, 0)), layers, layers)


def fits(plan: MemoryPlan, devices: Iterable[Device]) -> bool:
    """Whether each GPU holds what is to lie on it, with one sequence, and keeps some memory free."""
    for device in devices:
        needed = plan.on(device.name)
        taken = needed.weights + needed.cache + needed.compute
        if taken and taken + _MARGIN > device.free:
            return False
    return True


def most_layers(layers: int, fit: Callable[[int], bool]) -> int:
    """The most layers that fit, by halves: 0 where not even one does."""
    low, high = 0, layers - 1
    while low < high:
        middle = (low + high + 1) // 2
        if fit(middle):
            low = middle
        else:
            high = middle - 1
    return low


def longest_sequence(settings: EngineSettings, trained: int) -> int:
    """The most tokens of one sequence, of a model that was trained for so many.

    Raises:
        ModelLoadError: it was trained for none, as a damaged header says.
    """
    if trained < 1:
        raise ModelLoadError(
            f"{settings.gguf} says that it was trained for {trained} tokens; use a complete GGUF of a text model."
        )
    return min(settings.context, int(trained * (settings.hardware.rope_scale or 1)))


def cells(settings: EngineSettings, length: int) -> int:
    """Cells of the stream of one sequence of up to `length` tokens."""
    # A lone sequence is padded with one token more in its neighbour, if texts are to be repeatable.
    return -(-(length + settings.repeatable) // CELLS) * CELLS


def _plan(settings: EngineSettings, gpu_layers: int, sizes: Mapping[str, int]) -> MemoryPlan:
    parameters = model_parameters(settings.hardware, gpu_layers)
    parameters.no_alloc = True
    parameters.load_mode = native.LLAMA_LOAD_MODE_NONE
    with captured_log() as log:
        model = native.llama_model_load_from_file(os.fsencode(settings.gguf), parameters)
        if not model:
            raise ModelLoadError(cannot_be_loaded(settings.gguf, log, sizes))
        try:
            check_is_decoder(model, settings.gguf)
            weights_log = list(log.lines)
            _try_context(settings, model, log)
            return read_plan(weights_log, log.lines[len(weights_log) :], sizes)
        finally:
            native.llama_model_free(model)


def cannot_be_loaded(path: Path, log: CapturedLog, sizes: Mapping[str, int]) -> str:
    """Why llama.cpp could not load a file, as one sentence that says what to do."""
    if not sizes:
        return f"{path} holds no weights, only a vocabulary or nothing; use a complete GGUF of a text model."
    return f"{path} cannot be loaded: {reason(log)}. Use a complete GGUF of a text model."


def _try_context(settings: EngineSettings, model: Any, log: CapturedLog) -> None:
    """Lay out a context of one sequence, and let it go."""
    length = cells(settings, longest_sequence(settings, native.llama_model_n_ctx_train(model)))
    context = native.llama_init_from_model(
        model, context_parameters(settings.hardware, streams=1, length=length, threads=1)
    )
    if not context:
        raise ModelLoadError(no_context(settings.gguf, 1, length, log))
    remembers = bool(native.llama_get_memory(context))
    native.llama_free(context)
    if not remembers:
        raise ModelLoadError(
            f"{settings.gguf.name} keeps nothing of what it has read, as embedding models do; use a GGUF of a model "
            "that writes text."
        )


def no_context(path: Path, streams: int, length: int, log: CapturedLog) -> str:
    """That llama.cpp makes no context, and what to do."""
    sequences = "sequence" if streams == 1 else "sequences"
    return (
        f"No context of {streams} {sequences} of {length} tokens could be made for {path.name}: {reason(log)}. Lower "
        "context, slots or memory, or change the cache's type or flash_attention, in the pool file."
    )


def read_plan(weights_log: Iterable[str], context_log: Iterable[str], sizes: Mapping[str, int]) -> MemoryPlan:
    """The plan of which llama.cpp has told in its log; `sizes` are the bytes of each tensor.

    Raises:
        ModelLoadError: the log does not tell of a cache, or of where the layers are.
    """
    layers: dict[int, str] = {}
    moved: dict[str, str] = {}
    for line in weights_log:
        if match := _LAYER.search(line):
            layers[int(match[1])] = match[2]
        elif match := _MOVED.search(line):
            moved[match[1]] = _device(match[2])
    cache, compute = _caches(context_log := list(context_log)), _buffers(context_log)
    if not layers or not cache:
        raise ModelLoadError(
            "This version of llama-cpp-python does not tell how much memory a model takes; install one that this "
            "package has been tested with."
        )
    weights: Counter[str] = Counter()
    for name, size in sizes.items():
        weights[moved.get(name) or _device_of_tensor(name, layers)] += size
    if (output := layers[max(layers)]) != HOST and "output.weight" not in sizes:
        # Where the output has no weights of its own, a GPU gets a copy of the embeddings, which stay on the host.
        weights[output] += sizes.get("token_embd.weight", 0)
    names = dict.fromkeys([HOST, *weights, *cache, *compute])
    devices = tuple(DeviceMemory(name, weights[name], cache[name], compute[name]) for name in names)
    return MemoryPlan(devices, len(layers), sum(device != HOST for device in layers.values()))


def _device_of_tensor(name: str, layers: Mapping[int, str]) -> str:
    """Blocks lie where their layer does, what follows the last one where the output is, the embeddings on the host."""
    match = re.match(r"blk\.(\d+)\.", name)
    if match is not None:
        return layers.get(int(match[1]), HOST)
    return layers[max(layers)] if name.startswith("output") else HOST


def _caches(log: Sequence[str]) -> Counter[str]:
    """Bytes of cache by device: each cache tells of the device of every layer, and then of its size."""
    caches: Counter[str] = Counter()
    where: list[str] = []
    for line in log:
        if match := _CACHED_LAYER.search(line):
            where.append(match[1])
        elif match := _CACHE.search(line):
            for device in where or [HOST]:
                # Rounded up, as llama.cpp tells hundredths.
                caches[device] += round((float(match[1]) + 0.005) * _MIB / max(1, len(where)))
            where = []
    return caches


def _buffers(log: Iterable[str]) -> Counter[str]:
    buffers: Counter[str] = Counter()
    for line in log:
        if match := _BUFFER.search(line):
            # The output's is told with one row for each sequence, here one; it grows to what a decode may give.
            rows = OUTPUTS if match[2] == "output" else 1
            buffers[_device(match[1])] += round(float(match[3]) * _MIB) * rows
    return buffers


def _device(buffer: str) -> str:
    """The device of a buffer type: "CUDA_Host" is memory of the host that a GPU reaches."""
    return HOST if buffer.endswith("_Host") or buffer.startswith("CPU") else buffer


def gpu_layers_of(plan: MemoryPlan, hardware: Hardware) -> int:
    """What to tell llama.cpp: how many layers lie on GPUs."""
    return hardware.gpu_layers if isinstance(hardware.gpu_layers, int) else plan.layers_on_gpu
