"""Capture what llama.cpp logs while a file is loaded: its return value says only that it failed, its log says why."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator

from llama_cpp import _logger as llama_cpp_logger
from llama_cpp import llama_cpp as native

_WARNING, _ERROR = 3, 4
# llama.cpp has one log callback for the whole process.
_lock = threading.Lock()
_lines: list[str] | None = None
_details = False


# It lives as long as the process: another engine's thread may be inside it when the log is given back.
@native.llama_log_callback  # type: ignore[untyped-decorator]
def _collect(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    lines = _lines
    if lines is not None and (_details or level in (_WARNING, _ERROR)):
        lines.append(text.decode("utf-8", "replace").strip())


@contextlib.contextmanager
def captured_log(*, details: bool = False) -> Iterator[list[str]]:
    """Collect llama.cpp's errors (and warnings) during the block, then give its log back to llama-cpp-python.

    Yields a list that fills with the logged lines, newest last; with `details`, all of them. Blocks in different
    threads take turns.
    """
    global _lines, _details
    lines: list[str] = []
    with _lock:
        _lines, _details = lines, details
        native.llama_log_set(_collect, ctypes.c_void_p(0))
        try:
            yield lines
        finally:
            _lines, _details = None, False
            native.llama_log_set(llama_cpp_logger.llama_log_callback, ctypes.c_void_p(0))


def reason(lines: list[str]) -> str:
    """The line that says most about a failed load: the first one with its function prefix taken off."""
    told = [line for line in lines if line and "failed to load" not in line] or lines or ["no reason given"]
    text = told[0]
    head, colon, tail = text.partition(": ")
    return tail if colon and " " not in head else text
