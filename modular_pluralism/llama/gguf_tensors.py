"""How many bytes each tensor of a GGUF takes, all parts of a split file together."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from modular_pluralism.llama.devices import ggml_function
from modular_pluralism.llama.gguf_parts import parts


class InitParameters(ctypes.Structure):
    """ggml's `gguf_init_params`: with `no_alloc` and no `context`, a file's header alone is read."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p))


def tensor_bytes(path: Path) -> dict[str, int]:
    """Bytes by the tensor's name; empty where a part cannot be read."""
    return {name: size for part in parts(path) for name, size in _tensors_of(part).items()}


def _tensors_of(path: Path) -> dict[str, int]:
    at = (ctypes.c_void_p, ctypes.c_int64)
    read = ggml_function("gguf_init_from_file", ctypes.c_void_p, ctypes.c_char_p, InitParameters)
    count = ggml_function("gguf_get_n_tensors", ctypes.c_int64, ctypes.c_void_p)
    name = ggml_function("gguf_get_tensor_name", ctypes.c_char_p, *at)
    size = ggml_function("gguf_get_tensor_size", ctypes.c_size_t, *at)
    file = read(os.fsencode(path), InitParameters(True, None))
    if not file:
        return {}
    try:
        return {name(file, number).decode("utf-8", "replace"): size(file, number) for number in range(count(file))}
    finally:
        ggml_function("gguf_free", None, ctypes.c_void_p)(file)
