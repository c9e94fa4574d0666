"""What this build of llama.cpp can compute on, which GPUs the machine has beside that, and how to build for them."""

from __future__ import annotations

import ctypes
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from modular_pluralism.llama.devices import ggml_function, start_backend

BackendName = Literal["metal", "cuda", "rocm", "vulkan"]
"""Backends that llama-cpp-python can be built with, of those that run on common GPUs."""

_REGISTERED: dict[BackendName, tuple[str, ...]] = {
    "metal": ("MTL", "Metal"),
    "cuda": ("CUDA",),
    "rocm": ("ROCm", "HIP"),
    "vulkan": ("Vulkan",),
}
"""What llama.cpp calls each."""
_OPTION: dict[BackendName, str] = {
    "metal": "-DGGML_METAL=on",
    "cuda": "-DGGML_CUDA=on",
    "rocm": "-DGGML_HIP=on",
    "vulkan": "-DGGML_VULKAN=on",
}
_NEEDS: dict[BackendName, str] = {
    "metal": "Xcode's command line tools (xcode-select --install)",
    "cuda": "NVIDIA's CUDA toolkit (nvcc)",
    "rocm": "AMD's ROCm with hipBLAS (hipconfig)",
    "vulkan": "the Vulkan SDK (headers, loader and glslc)",
}
_VENDORS: dict[str, tuple[BackendName, ...]] = {
    "0x10de": ("cuda",),
    "0x1002": ("rocm", "vulkan"),
    "0x8086": ("vulkan",),
}
"""PCI vendors of GPUs: NVIDIA, AMD, Intel; and what serves each, the best first."""
_DRM = Path("/sys/class/drm")
_DRIVERS: dict[str, BackendName] = {"/dev/nvidiactl": "cuda", "/dev/kfd": "rocm"}


@dataclass(frozen=True)
class SeenGpu:
    """A GPU that the machine seems to have: which backend serves it, and what tells of it."""

    backend: BackendName
    evidence: str


def backends() -> list[str]:
    """The backends that are compiled in, as llama.cpp calls them, such as "CPU" and "CUDA"."""
    start_backend()
    count = ggml_function("ggml_backend_reg_count", ctypes.c_size_t)
    at = ggml_function("ggml_backend_reg_get", ctypes.c_void_p, ctypes.c_size_t)
    name = ggml_function("ggml_backend_reg_name", ctypes.c_char_p, ctypes.c_void_p)
    return [name(at(number)).decode() for number in range(count())]


def seen_gpus() -> list[SeenGpu]:
    """GPUs that the system tells of, whatever llama.cpp is built for; one for each backend at most."""
    found: dict[BackendName, str] = {}
    if sys.platform == "darwin" and platform.machine() == "arm64":
        found["metal"] = "an Apple processor"
    for device, backend in _DRIVERS.items():
        if Path(device).exists():
            found.setdefault(backend, device)
    if program := shutil.which("nvidia-smi"):
        found.setdefault("cuda", program)
    for file in sorted(_DRM.glob("card*/device/vendor")) if _DRM.is_dir() else ():
        try:
            vendor = file.read_text().strip()
        except OSError:
            continue
        for backend in _VENDORS.get(vendor, ()):
            found.setdefault(backend, f"{file.parent.parent.name} of vendor {vendor}")
    return [SeenGpu(backend, evidence) for backend, evidence in found.items()]


def is_built(backend: BackendName, compiled: Iterable[str]) -> bool:
    """Whether one of the compiled backends is this one."""
    return any(name in _REGISTERED[backend] for name in compiled)


def missing_backends(seen: Iterable[SeenGpu], compiled: Iterable[str]) -> list[SeenGpu]:
    """The GPUs that no compiled backend serves. Vulkan is not missing where another one serves the same GPUs."""
    compiled, seen = list(compiled), list(seen)
    if any(is_built(backend, compiled) for backend in ("rocm", "cuda")):
        seen = [gpu for gpu in seen if gpu.backend != "vulkan"]
    elif is_built("vulkan", compiled):
        seen = [gpu for gpu in seen if gpu.backend == "metal"]
    return [gpu for gpu in seen if not is_built(gpu.backend, compiled)]


def build_command(backend: BackendName) -> str:
    """The command that builds llama-cpp-python for a backend and installs it in the place of what is there."""
    pip = "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
    option = _OPTION[backend]
    return f'$env:CMAKE_ARGS = "{option}"; {pip}' if sys.platform == "win32" else f'CMAKE_ARGS="{option}" {pip}'


def build_needs(backend: BackendName) -> str:
    """What has to be installed before it is built."""
    return _NEEDS[backend]


BACKENDS: tuple[BackendName, ...] = get_args(BackendName)
