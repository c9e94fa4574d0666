"""One loaded GGUF: the weights, the vocabulary, and the adapters that go with them."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from llama_cpp import _logger as llama_cpp_logger
from llama_cpp import llama_cpp as native

from modular_pluralism.errors import EngineClosedError, ModelLoadError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.captured_log import captured_log, reason
from modular_pluralism.llama.devices import start_backend
from modular_pluralism.llama.gguf_parts import check_parts
from modular_pluralism.llama.gguf_tensors import tensor_bytes
from modular_pluralism.llama.host import usable_memory
from modular_pluralism.llama.memory import HOST, MemoryPlan, cannot_be_loaded, gpu_layers_of
from modular_pluralism.llama.model_kind import check_is_decoder
from modular_pluralism.llama.parameters import model_parameters

_MAGIC = b"GGUF"


def _start_backend() -> None:
    # As llama_cpp.Llama(verbose=False) does; an application that has set this logger's level keeps it.
    if llama_cpp_logger.logger.level == logging.NOTSET:
        llama_cpp_logger.logger.setLevel(logging.ERROR)
    start_backend()


def check_is_gguf(path: Path) -> None:
    """Raise ModelLoadError unless `path` is a readable file that begins as a GGUF does."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except FileNotFoundError:
        raise ModelLoadError(f"There is no file {path}; check the path in the pool file.") from None
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None
    if magic != _MAGIC:
        raise ModelLoadError(f"{path} is not a GGUF file (it begins with {magic!r}); point to a .gguf file.")


def _check_fits(path: Path, size: int) -> None:
    """Raise ModelLoadError where the weights would not fit: the process would be killed without a word."""
    free = usable_memory()
    if free is not None and size > free:
        raise ModelLoadError(
            f"{path} needs {size / 2**30:.2f} GiB of memory, and {free / 2**30:.2f} GiB are free; use a smaller file "
            "or a larger machine."
        )


class ModelFile:
    """The weights and the vocabulary of one GGUF file, shared by every sequence that uses them.

    Args:
        path: The file, or the first of a split one.
        hardware: How it is laid on the machine.
        plan: What it will take there; without one, everything lies in the host's memory.

    Raises:
        ModelLoadError: the file is missing, unreadable, not GGUF, or llama.cpp cannot use it.
    """

    def __init__(self, path: Path, hardware: Hardware | None = None, plan: MemoryPlan | None = None) -> None:
        hardware = hardware or Hardware()
        check_is_gguf(path)
        path = check_parts(path)
        sizes = tensor_bytes(path)
        _check_fits(path, sum(sizes.values()) if plan is None else plan.on(HOST).weights)
        _start_backend()
        self.path = path
        parameters = model_parameters(hardware, 0 if plan is None else gpu_layers_of(plan, hardware))
        with captured_log() as log:
            self.pointer = native.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.pointer:
            raise ModelLoadError(cannot_be_loaded(path, log, sizes))
        try:
            check_is_decoder(self.pointer, path)
        except ModelLoadError:
            native.llama_model_free(self.pointer)
            raise
        self._vocabulary = native.llama_model_get_vocab(self.pointer)
        self._open = threading.Lock()
        self.n_vocab: int = native.llama_vocab_n_tokens(self._vocabulary)
        self.begin_token: int = native.llama_vocab_bos(self._vocabulary)
        """The begin-of-text token, or -1."""
        self.end_token: int = native.llama_vocab_eos(self._vocabulary)
        """The end-of-text token, or -1."""
        turn_end: int = native.llama_vocab_eot(self._vocabulary)
        self.turn_end_token = turn_end if turn_end >= 0 else self.end_token
        """The token with which the model ends a turn; the end-of-text token where it has no other."""
        self.n_ctx_train: int = native.llama_model_n_ctx_train(self.pointer)
        self.is_recurrent = bool(
            native.llama_model_is_recurrent(self.pointer) or native.llama_model_is_hybrid(self.pointer)
        )
        """Whether any layer keeps a state in which single tokens cannot be told apart."""
        self.window: int = max(0, native.llama_model_n_swa(self.pointer))
        """Tokens that its sliding windows hold, or 0."""
        self.metadata = self._read_metadata()
        self._adapters: dict[Path, Any] = {}
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    def _read_metadata(self) -> dict[str, str]:
        size = 1 << 20
        buffer = ctypes.create_string_buffer(size)
        metadata = {}
        for index in range(native.llama_model_meta_count(self.pointer)):
            native.llama_model_meta_key_by_index(self.pointer, index, buffer, size)
            key = buffer.value.decode("utf-8", "replace")
            native.llama_model_meta_val_str_by_index(self.pointer, index, buffer, size)
            metadata[key] = buffer.value.decode("utf-8", "replace")
        return metadata

    @contextlib.contextmanager
    def open_vocabulary(self) -> Iterator[Any]:
        """The vocabulary, which another thread cannot free meanwhile."""
        with self._open:
            if self.pointer is None:
                raise EngineClosedError(f"The engine of {self.path.name} is closed; open the pool again.")
            yield self._vocabulary

    def tokenize(self, text: str, *, parse_special: bool, add_special: bool = False) -> list[int]:
        """The tokens of `text`.

        `parse_special` turns texts such as "<|im_end|>" into control tokens, so it must be off for anything that a
        user or a model wrote. `add_special` adds a begin-of-text token where the model wants one.
        """
        data = text.encode("utf-8", "replace")
        size = len(data) + 8
        with self.open_vocabulary() as vocabulary:
            while True:
                tokens = (native.llama_token * size)()
                count = native.llama_tokenize(vocabulary, data, len(data), tokens, size, add_special, parse_special)
                if count >= 0:
                    return list(tokens[:count])
                size = -count

    def piece(self, token: int) -> bytes:
        """The bytes of one token; not always whole characters. Control tokens have none."""
        known = self._pieces.get(token)
        if known is None:
            size = 64
            with self.open_vocabulary() as vocabulary:
                while True:
                    buffer = ctypes.create_string_buffer(size)
                    count = native.llama_token_to_piece(vocabulary, token, buffer, size, 0, False)
                    if count >= 0:
                        break
                    size = -count
            known = self._pieces[token] = buffer.raw[:count]
        return known

    def token_text(self, token: int) -> str:
        """The token as the vocabulary spells it, for control tokens too, e.g. "<|im_end|>"."""
        with self.open_vocabulary() as vocabulary:
            text: bytes = native.llama_vocab_get_text(vocabulary, token)
            return text.decode("utf-8", "replace")

    def is_end(self, token: int) -> bool:
        """Whether the model ends its turn with this token."""
        known = self._ends.get(token)
        if known is None:
            with self.open_vocabulary() as vocabulary:
                known = self._ends[token] = bool(native.llama_vocab_is_eog(vocabulary, token))
        return known

    @cached_property
    def control_tokens(self) -> dict[int, str]:
        """The tokens that only `tokenize(parse_special=True)` makes out of text, each with that spelling."""
        special = native.LLAMA_TOKEN_ATTR_CONTROL | native.LLAMA_TOKEN_ATTR_UNKNOWN
        with self.open_vocabulary() as vocabulary:
            tokens = [
                token for token in range(self.n_vocab) if native.llama_vocab_get_attr(vocabulary, token) & special
            ]
        return {token: self.token_text(token) for token in tokens}

    def load_adapter(self, path: Path) -> None:
        """Load a LoRA adapter; llama.cpp wants this done before the context is made.

        Raises:
            ModelLoadError: missing, not GGUF, or made for another base model.
        """
        check_is_gguf(path)
        with captured_log() as log:
            adapter = native.llama_adapter_lora_init(self.pointer, os.fsencode(path))
        if not adapter:
            raise ModelLoadError(
                f"The adapter {path} does not fit {self.path.name}: {reason(log)}. Use an adapter made for this base."
            )
        self._adapters[path] = adapter

    def adapter(self, path: Path) -> Any:
        """The loaded adapter's llama.cpp pointer."""
        return self._adapters[path]

    def close(self) -> None:
        """Free the weights, and the adapters with them. No context may use them any more."""
        with self._open:
            if self.pointer:
                native.llama_model_free(self.pointer)
                self.pointer = None
