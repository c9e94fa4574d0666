"""llama.cpp by itself, one sequence at a time and nothing reused: what the engine's texts are held against."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as native

from modular_pluralism.llama.captured_log import captured_log
from modular_pluralism.llama.chunks import wide_length

_AT_ONCE = 63
"""Tokens of a short prompt that are read at once, as the engine reads them (see chunks.py)."""


def greedy(
    path: Path,
    prompts: Sequence[Sequence[int]],
    length: int,
    *,
    context: int = 512,
    adapter: Path | None = None,
    threads: int = 1,
    flash: bool = True,
) -> list[list[int]]:
    """The `length` likeliest tokens, one after the other, after each prompt."""
    with _opened(path, context, adapter, threads, flash) as llama:
        return [_continued(llama, prompt, length) for prompt in prompts]


def _continued(llama: Any, prompt: Sequence[int], length: int) -> list[int]:
    native.llama_memory_clear(native.llama_get_memory(llama), True)
    vocabulary = native.llama_vocab_n_tokens(native.llama_model_get_vocab(native.llama_get_model(llama)))
    written: list[int] = []
    wide = wide_length(len(prompt))
    cuts = [0, *range(wide, len(prompt), _AT_ONCE), len(prompt)]
    pieces = [list(prompt[start:end]) for start, end in pairwise(cuts) if end > start]
    while True:
        for piece in pieces:
            tokens = (native.llama_token * len(piece))(*piece)  # the batch holds their address alone
            assert native.llama_decode(llama, native.llama_batch_get_one(tokens, len(piece))) == 0
        if len(written) == length:
            return written
        written.append(int(np.ctypeslib.as_array(native.llama_get_logits_ith(llama, -1), (vocabulary,)).argmax()))
        pieces = [written[-1:]]


@contextmanager
def _opened(path: Path, context: int, adapter: Path | None, threads: int, flash: bool) -> Iterator[Any]:
    parameters = native.llama_context_default_params()
    parameters.n_ctx = context
    parameters.n_threads = parameters.n_threads_batch = threads
    parameters.flash_attn_type = int(flash)  # LLAMA_FLASH_ATTN_TYPE_ENABLED or _DISABLED
    with captured_log():
        model = native.llama_model_load_from_file(str(path).encode(), native.llama_model_default_params())
        lora = None if adapter is None else native.llama_adapter_lora_init(model, str(adapter).encode())
        llama = native.llama_init_from_model(model, parameters)
    if lora is not None:
        one = (native.llama_adapter_lora_p_ctypes * 1)(lora), 1, (ctypes.c_float * 1)(1.0)
        assert native.llama_set_adapters_lora(llama, *one) == 0
    try:
        yield llama
    finally:
        native.llama_free(llama)
        native.llama_model_free(model)
