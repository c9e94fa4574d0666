"""What a GGUF file says of itself, read by llama.cpp's own reader without loading its weights."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama.captured_log import captured_log, reason
from modular_pluralism.llama.devices import ggml_function
from modular_pluralism.llama.gguf_tensors import InitParameters
from modular_pluralism.llama.model_file import check_is_gguf

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


class GgufHeader:
    """What a file says of itself: `values` of the keys that were asked for, and `tensors`, how many it holds."""

    def __init__(self, values: dict[str, str | int], tensors: int) -> None:
        self.values = values
        self.tensors = tensors

    def text(self, key: str) -> str:
        """The value under a key as text, "" where there is none."""
        return str(self.values.get(key, ""))


def read_header(path: Path, keys: Iterable[str]) -> GgufHeader:
    """The header of one file, with those of `keys` that it has and that are text or whole numbers.

    Raises:
        ModelLoadError: it is no GGUF file, or a damaged one.
    """
    check_is_gguf(path)
    with captured_log() as log:
        read = ggml_function("gguf_init_from_file", ctypes.c_void_p, ctypes.c_char_p, InitParameters)
        context = read(os.fsencode(path), InitParameters(True, None))
    if not context:
        raise ModelLoadError(f"{path} cannot be read as a GGUF file: {reason(log)}. Use a complete file.")
    try:
        values = {key: value for key in keys if (value := _value(context, key)) is not None}
        return GgufHeader(values, _call("gguf_get_n_tensors", ctypes.c_int64, context))
    finally:
        ggml_function("gguf_free", None, ctypes.c_void_p)(context)


def _value(context: int, key: str) -> str | int | None:
    index = ggml_function("gguf_find_key", ctypes.c_int64, ctypes.c_void_p, ctypes.c_char_p)(context, key.encode())
    if index < 0:
        return None
    kind = _call("gguf_get_kv_type", ctypes.c_int, context, index)
    if kind == _TEXT:
        return str(_call("gguf_get_val_str", ctypes.c_char_p, context, index).decode("utf-8", "replace"))
    if kind in _NUMBERS:
        name, c_type = _NUMBERS[kind]
        return int(_call(f"gguf_get_val_{name}", c_type, context, index))
    return None


def _call(name: str, result: Any, context: int, *index: int) -> Any:
    return ggml_function(name, result, ctypes.c_void_p, *(ctypes.c_int64 for _ in index))(context, *index)
