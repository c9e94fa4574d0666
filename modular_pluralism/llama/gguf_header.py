"""What a GGUF file says of itself, read by llama.cpp's own reader without loading its weights.

That reader checks every count and refuses what cannot be; what loads a model ends the process instead (see `trial`).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama.captured_log import captured_log, reason
from modular_pluralism.llama.devices import ggml_function
from modular_pluralism.llama.gguf_parts import parts

_MAGIC = b"GGUF"
_TEXT = 8
_NUMBERS: dict[int, tuple[str, Any]] = {
    0: ("u8", ctypes.c_uint8),
    1: ("i8", ctypes.c_int8),
    2: ("u16", ctypes.c_uint16),
    3: ("i16", ctypes.c_int16),
    4: ("u32", ctypes.c_uint32),
    5: ("i32", ctypes.c_int32),
    7: ("bool", ctypes.c_bool),
    10: ("u64", ctypes.c_uint64),
    11: ("i64", ctypes.c_int64),
}
"""GGUF's types of whole numbers."""


class _InitParameters(ctypes.Structure):
    """ggml's `gguf_init_params`: with `no_alloc` and no `context`, a file's header alone is read."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p))


@dataclass(frozen=True)
class GgufHeader:
    """What a file says of itself: the `values` that are text or whole numbers, and the bytes of its `tensors`."""

    values: Mapping[str, str | int]
    tensors: Mapping[str, int]

    def text(self, key: str) -> str:
        """The value under a key as text, "" where there is none."""
        return str(self.values.get(key, ""))


def check_is_gguf(path: Path) -> None:
    """Raise ModelLoadError unless `path` is a readable file that begins as a GGUF does."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise ModelLoadError(f"There is no file {path}; check the path.") from None
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None
    if magic != _MAGIC:
        raise ModelLoadError(f"{path} is not a GGUF file (it begins with {magic!r}); point to a .gguf file.")


def read_header(path: Path) -> GgufHeader:
    """The header of one file.

    Raises:
        ModelLoadError: it is no GGUF file, or a damaged one.
    """
    check_is_gguf(path)
    read = ggml_function("gguf_init_from_file", ctypes.c_void_p, ctypes.c_char_p, _InitParameters)
    with captured_log() as log:
        context = read(os.fsencode(path), _InitParameters(True, None))
    if not context:
        raise ModelLoadError(f"{path} cannot be read as a GGUF file: {reason(log)}. Use a complete file.")
    try:
        return GgufHeader(_values(context), _tensors(context))
    finally:
        ggml_function("gguf_free", None, ctypes.c_void_p)(context)


def read_whole_header(path: Path) -> GgufHeader:
    """What the first file of the model at `path` says, with the tensors of all its files. Raises as `read_header`."""
    headers = [read_header(part) for part in parts(path)]
    return GgufHeader(headers[0].values, {name: size for each in headers for name, size in each.tensors.items()})


def _values(context: int) -> dict[str, str | int]:
    values: dict[str, str | int] = {}
    for index in range(_call("gguf_get_n_kv", ctypes.c_int64, context)):
        value = _value(context, index)
        if value is not None:
            values[_call("gguf_get_key", ctypes.c_char_p, context, index).decode("utf-8", "replace")] = value
    return values


def _tensors(context: int) -> dict[str, int]:
    return {
        _call("gguf_get_tensor_name", ctypes.c_char_p, context, index).decode("utf-8", "replace"): int(
            _call("gguf_get_tensor_size", ctypes.c_size_t, context, index)
        )
        for index in range(_call("gguf_get_n_tensors", ctypes.c_int64, context))
    }


def _value(context: int, index: int) -> str | int | None:
    kind = _call("gguf_get_kv_type", ctypes.c_int, context, index)
    if kind == _TEXT:
        return str(_call("gguf_get_val_str", ctypes.c_char_p, context, index).decode("utf-8", "replace"))
    if kind in _NUMBERS:
        name, c_type = _NUMBERS[kind]
        return int(_call(f"gguf_get_val_{name}", c_type, context, index))
    return None


def _call(name: str, result: Any, context: int, *index: int) -> Any:
    return ggml_function(name, result, ctypes.c_void_p, *(ctypes.c_int64 for _ in index))(context, *index)
