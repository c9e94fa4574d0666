"""Capture what llama.cpp logs while a file is loaded: its return value says only that it failed, its log says why."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from llama_cpp import _logger as llama_cpp_logger
from llama_cpp import llama_cpp as native

_WARNING, _ERROR = 3, 4
# llama.cpp has one log callback for the whole process.
_lock = threading.Lock()


@dataclass(frozen=True)
class CapturedLog:
    """What llama.cpp has logged: every line, and those of them that warn or tell an error."""

    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


_captured: CapturedLog | None = None


# It lives as long as the process: another engine's thread may be inside it when the log is given back.
@native.llama_log_callback  # type: ignore[untyped-decorator]
def _collect(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    captured = _captured
    if captured is None:
        return
    line = text.decode("utf-8", "replace").strip()
    captured.lines.append(line)
    if level == _WARNING:
        captured.warnings.append(line)
    elif level == _ERROR:
        captured.errors.append(line)


@contextlib.contextmanager
def captured_log() -> Iterator[CapturedLog]:
    """Collect what llama.cpp logs during the block, then give its log back to llama-cpp-python.

    Yields what fills with the logged lines, newest last. Blocks in different threads take turns.
    """
    global _captured
    captured = CapturedLog()
    with _lock:
        _captured = captured
        native.llama_log_set(_collect, ctypes.c_void_p(0))
        try:
            yield captured
        finally:
            _captured = None
            native.llama_log_set(llama_cpp_logger.llama_log_callback, ctypes.c_void_p(0))


def reason(log: CapturedLog) -> str:
    """The line that says most about a failed load: the first error with its function prefix taken off."""
    lines = [line for line in (*log.errors, *log.warnings) if line]
    told = [line for line in lines if "failed to load" not in line] or lines or ["no reason given"]
    text = told[0]
    head, colon, tail = text.partition(": ")
    return tail if colon and " " not in head else text
