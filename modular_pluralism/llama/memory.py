"""What a model will take of the memory, and of which device, as llama.cpp itself reckons before anything is loaded.

llama.cpp can read a file's header, lay out the weights, a context's cache and its buffers, and allocate none of them;
what it then tells is right for every kind of memory that it knows: sliding windows, recurrent states, hybrids of both,
compressed attention. The numbers are in its log alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from modular_pluralism.llama.settings import EngineSettings


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
    def compute(self) -> int:
        """Bytes of compute buffers on all devices."""
        return sum(device.compute for device in self.devices)

    def total(self, sequences: int) -> int:
        """Bytes on all devices with so many sequences."""
        return self.weights + self.compute + sequences * self.cache


def plan_memory(settings: EngineSettings) -> MemoryPlan:
    """What an engine of these settings would take. Loads no weights: about as long as reading the vocabulary.

    Args:
        settings: The engine's; its `gguf` has to be there already.

    Raises:
        ModelLoadError: the file is missing, no GGUF, or of a model that the engine cannot run; or this build of
            llama.cpp does not tell what it would take.
    """
    raise NotImplementedError
