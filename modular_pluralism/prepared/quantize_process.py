"""A program that rewrites one GGUF and ends: SOURCE TARGET FILE_TYPE THREADS.

It runs in a process of its own, because llama.cpp cannot be stopped half-way and a process can. It imports nothing but
llama_cpp, so that it starts at once. Exit code 0, or 1 with llama.cpp's reason on standard error.
"""

from __future__ import annotations

import ctypes
import os
import sys

from llama_cpp import llama_cpp as native

_ERROR = 4
_lines: list[str] = []


# A name of the module, so that it lives as long as llama.cpp may call it.
@native.llama_log_callback  # type: ignore[untyped-decorator]
def _collect(level: int, text: bytes, _data: ctypes.c_void_p) -> None:
    if level == _ERROR:
        _lines.append(text.decode("utf-8", "replace").strip())


def main(source: str, target: str, file_type: str, threads: str) -> int:
    """Write `source` to `target` in another format."""
    native.llama_log_set(_collect, ctypes.c_void_p(0))
    native.llama_backend_init()
    wanted = native.llama_model_quantize_default_params()
    wanted.ftype = int(file_type)
    wanted.nthread = int(threads)
    wanted.allow_requantize = True
    code: int = native.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(wanted))
    if code != 0:
        print(_lines[-1] if _lines else f"llama_model_quantize returned {code}", file=sys.stderr)
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
