"""A program that loads a GGUF as an engine does, and lets it read two tokens: USE THREADS SECONDS FILE [ADAPTER ...].

It runs in a process of its own, because llama.cpp ends its process where a file is not what it expects. It takes no
more memory than must be: the weights stay in the file. It prints the number of the file that it is at, and "done" at
the end. Where the file is refused it ends without that: whoever opens the file is told the reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any


def _import_bare(name: str) -> ModuleType:
    """Make a package known without what its `__init__` imports, which takes longer than all that is done here."""
    spec = find_spec(name)
    assert spec is not None
    package = sys.modules[name] = ModuleType(name)
    package.__path__ = list(spec.submodule_search_locations or ())
    package.__file__ = spec.origin
    return package


if __name__ == "__main__":
    _import_bare("modular_pluralism.llama")
    bindings = _import_bare("llama_cpp")
    from llama_cpp import llama_cpp as native

    # Some modules of the bindings look for these in the package.
    vars(bindings).update({name: each for name, each in vars(native).items() if not name.startswith("__")})

from llama_cpp import llama_cpp as native  # noqa: E402

from modular_pluralism.errors import ModelLoadError  # noqa: E402
from modular_pluralism.llama.gguf_header import read_whole_header  # noqa: E402
from modular_pluralism.llama.model_kind import (  # noqa: E402
    check_counts,
    check_gives_vectors,
    check_is_decoder,
    pooling_type,
    sees_what_follows,
)

_CELLS, _BATCH, _TEXTS = 256, 64, 2
_MEMORY = 4 << 30
"""Bytes that may be used beside the weights."""


def try_file(use: str, threads: int, path: Path, adapters: Sequence[str]) -> None:
    """Use a file for "text", for "vectors" or for its "vocabulary", and each of the adapters with it.

    Raises:
        ModelLoadError: it is refused, as it will be where it is opened.
    """
    header = read_whole_header(path)
    if use != "vocabulary":
        check_counts(header, path)
    native.llama_log_set(native.llama_log_callback(0), None)  # all that it says goes to standard error
    native.llama_backend_init()
    model = _found(native.llama_model_load_from_file(os.fsencode(path), _model_parameters(use)))
    if use == "vocabulary":
        return
    (check_gives_vectors if use == "vectors" else check_is_decoder)(model, path)
    loaded = [None, *(_adapter(model, number, path) for number, path in enumerate(adapters, 1))]
    context = _text_context(model, threads) if use == "text" else _vector_context(model, threads)
    for number, adapter in enumerate(loaded):
        print(number, flush=True)
        if adapter is not None:
            pointers, scales = (native.llama_adapter_lora_p_ctypes * 1)(adapter), (ctypes.c_float * 1)(1)
            native.llama_set_adapters_lora(context, pointers, 1, scales)
        read = native.llama_decode if native.llama_get_memory(context) else native.llama_encode
        for tokens in (2, 1):  # what computes one is not what computes several
            read(context, native.llama_batch_get_one((native.llama_token * tokens)(), tokens))


def _found(pointer: Any) -> Any:
    if not pointer:
        raise ModelLoadError
    return pointer


def _adapter(model: Any, number: int, path: str) -> Any:
    print(number, flush=True)
    return _found(native.llama_adapter_lora_init(model, os.fsencode(path)))


def _model_parameters(use: str) -> Any:
    """The weights are mapped, for the processor alone, in the format that the file has them in."""
    parameters = native.llama_model_default_params()
    parameters.vocab_only = use == "vocabulary"
    parameters.kept = (ctypes.c_void_p * 1)(None)  # the structure holds the address alone
    parameters.devices = ctypes.cast(parameters.kept, ctypes.c_void_p)
    parameters.use_extra_bufts = False
    return parameters


def _context_parameters(threads: int) -> Any:
    parameters = native.llama_context_default_params()
    parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = _CELLS, _BATCH, _BATCH
    parameters.n_threads = parameters.n_threads_batch = threads
    return parameters


def _text_context(model: Any, threads: int) -> Any:
    context = _found(native.llama_init_from_model(model, _context_parameters(threads)))
    _found(native.llama_get_memory(context))
    return context


def _vector_context(model: Any, threads: int) -> Any:
    """As `VectorContext` makes it."""
    parameters = _context_parameters(threads)
    parameters.embeddings = parameters.kv_unified = True
    parameters.n_seq_max = _TEXTS
    if not sees_what_follows(model):
        parameters.pooling_type = native.LLAMA_POOLING_TYPE_NONE
        context = _found(native.llama_init_from_model(model, parameters))
        if native.llama_get_memory(context):
            return context
    parameters.pooling_type = pooling_type(model)
    return _found(native.llama_init_from_model(model, parameters))


def _bound(seconds: int) -> None:
    """A file may ask for any amount of memory and of the processor's time."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        for limit, most in ((resource.RLIMIT_DATA, _MEMORY), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
            hard = resource.getrlimit(limit)[1]
            resource.setrlimit(limit, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def main(use: str, threads: str, seconds: str, file: str, *adapters: str) -> None:
    """Try the file; no word of it is for people."""
    _bound(int(seconds))
    print(0, flush=True)
    try:
        try_file(use, int(threads), Path(file), adapters)
    except ModelLoadError:
        return
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
