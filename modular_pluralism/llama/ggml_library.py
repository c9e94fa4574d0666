"""Functions of ggml, the library beneath llama.cpp, which llama-cpp-python brings but has no Python names for."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any

from llama_cpp import llama_cpp as native
from llama_cpp._ctypes_extensions import load_shared_library


def function(name: str, result: Any, arguments: Sequence[Any]) -> Any:
    """The function of that name, with its C types.

    Raises:
        AttributeError: this build of llama.cpp has none.
    """
    # Through libllama, so that it is the copy which llama.cpp itself uses; Windows looks no further than one library.
    for library in (native._lib, *_own()):
        try:
            found = library[name]  # unlike an attribute, not shared with whoever else uses the library
        except AttributeError:
            continue
        found.restype, found.argtypes = result, list(arguments)
        return found
    raise AttributeError(name)


@cache
def _own() -> tuple[Any, ...]:
    loaded: list[Any] = []
    for name in ("ggml", "ggml-base"):
        try:
            loaded.append(load_shared_library(name, native._base_path))
        except (OSError, RuntimeError):  # built into libllama
            continue
    return tuple(loaded)


class ReadParameters(ctypes.Structure):
    """ggml's `gguf_init_params`: read the header only, and make no tensors."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("tensors", ctypes.c_void_p))
