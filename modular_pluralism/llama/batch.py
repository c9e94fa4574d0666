"""One `llama_decode` call's input, filled through NumPy views: through ctypes it would cost more than sampling does."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as native


class Batch:
    """Room for `size` tokens, each of one sequence."""

    def __init__(self, size: int) -> None:
        self.native = native.llama_batch_init(size, 0, 1)
        self._tokens = np.ctypeslib.as_array(self.native.token, (size,))
        self._positions = np.ctypeslib.as_array(self.native.pos, (size,))
        self._outputs = np.ctypeslib.as_array(self.native.logits, (size,))
        np.ctypeslib.as_array(self.native.n_seq_id, (size,))[:] = 1
        # seq_id is an array of pointers, each to an array of one: put them all into one array of our own.
        self._sequences: npt.NDArray[np.int32] = np.zeros(size, dtype=np.int32)
        self._pointers = np.ctypeslib.as_array(
            ctypes.cast(self.native.seq_id, ctypes.POINTER(ctypes.c_size_t)), (size,)
        )
        self._own_pointers = self._pointers.copy()
        self._pointers[:] = self._sequences.ctypes.data + 4 * np.arange(size, dtype=np.uint64)
        self.count = 0

    def clear(self) -> None:
        """Start a new batch."""
        self.count = 0

    def add(self, tokens: Sequence[int], position: int, sequence: int, first_output: int) -> None:
        """Add consecutive tokens of a sequence; logits are wanted from position `first_output` on."""
        start, end = self.count, self.count + len(tokens)
        self._tokens[start:end] = tokens
        self._positions[start:end] = range(position, position + len(tokens))
        self._sequences[start:end] = sequence
        self._outputs[start:end] = self._positions[start:end] >= first_output
        self.count = end

    def ready(self) -> object:
        """The structure to pass to `llama_decode`."""
        self.native.n_tokens = self.count
        return self.native

    def close(self) -> None:
        """Free it; llama.cpp frees the pointers that it made itself."""
        self._pointers[:] = self._own_pointers
        native.llama_batch_free(self.native)
