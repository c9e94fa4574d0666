"""The devices that llama.cpp can put a model on, as its backends tell of them."""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import llama_cpp
from llama_cpp import llama_cpp as native

DeviceKind = Literal["CPU", "GPU", "integrated GPU", "accelerator"]
_KINDS: dict[int, DeviceKind] = {0: "CPU", 1: "GPU", 2: "integrated GPU", 3: "accelerator"}
_lock = threading.Lock()
_started = False


@dataclass(frozen=True)
class Device:
    """One device. `free` and `total` are bytes of its memory, 0 where its backend does not tell."""

    name: str
    """As llama.cpp calls it: "CPU", "CUDA0", "MTL0", "Vulkan1"."""
    description: str
    kind: DeviceKind
    free: int
    total: int

    @property
    def is_gpu(self) -> bool:
        """Whether llama.cpp puts layers on it."""
        return self.kind in ("GPU", "integrated GPU")


def start_backend() -> None:
    """Let llama.cpp load its backends, once."""
    global _started
    with _lock:
        if not _started:
            native.llama_backend_init()
            _started = True


def devices() -> list[Device]:
    """All devices, the host's processors ("CPU") included, in llama.cpp's order."""
    start_backend()
    count = ggml_function("ggml_backend_dev_count", ctypes.c_size_t)
    at = ggml_function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    return [_device(at(number)) for number in range(count())]


def gpus() -> list[Device]:
    """The devices that layers are put on where there are any: GPUs, or else the one that shares the host's memory."""
    found = [device for device in devices() if device.is_gpu]
    return [device for device in found if device.kind == "GPU"] or found[:1]


def buffer_type(name: str) -> int | None:
    """The address of the buffer type of that name (a device's, or its own), or None where there is none."""
    start_backend()
    count = ggml_function("ggml_backend_dev_count", ctypes.c_size_t)
    at = ggml_function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    of_device = ggml_function("ggml_backend_dev_buffer_type", ctypes.c_void_p, ctypes.c_void_p)
    called = ggml_function("ggml_backend_buft_name", ctypes.c_char_p, ctypes.c_void_p)
    for number in range(count()):
        kind: int | None = of_device(at(number))
        if kind and called(kind).decode() == name:
            return kind
    return None


def _device(pointer: int) -> Device:
    text = (ctypes.c_char_p, ctypes.c_void_p)
    name = ggml_function("ggml_backend_dev_name", *text)(pointer)
    description = ggml_function("ggml_backend_dev_description", *text)(pointer)
    kind = ggml_function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)(pointer)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    size = ctypes.POINTER(ctypes.c_size_t)
    tell = ggml_function("ggml_backend_dev_memory", None, ctypes.c_void_p, size, size)
    tell(pointer, ctypes.byref(free), ctypes.byref(total))
    return Device(name.decode(), description.decode(), _KINDS.get(kind, "accelerator"), free.value, total.value)


@cache
def ggml_function(name: str, result: Any, *arguments: Any) -> Any:
    """A function of ggml, on which llama.cpp stands; the bindings have none of them."""
    for library in _libraries():
        function = getattr(library, name, None)
        if function is not None:
            # A copy, since the bindings and other packages may declare the same function otherwise.
            prototype = ctypes.CFUNCTYPE(result, *arguments)
            address = ctypes.cast(function, ctypes.c_void_p).value
            assert address is not None
            return prototype(address)
    raise AttributeError(f"llama.cpp's libraries have no {name}")


@cache
def _libraries() -> tuple[ctypes.CDLL, ...]:
    folder = Path(llama_cpp.__file__).parent / "lib"
    own = [path for path in sorted(folder.glob("*ggml*")) if path.suffix in (".so", ".dylib", ".dll")]
    return (native._lib, *(ctypes.CDLL(str(path)) for path in own if path.stem.endswith(("ggml", "ggml-base"))))
