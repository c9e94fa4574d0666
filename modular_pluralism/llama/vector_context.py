"""A llama.cpp context that gives vectors of texts, which disturbs no other context of the same weights.

An encoder lets each token see those after it, so that its texts are read whole, and llama.cpp pools the vectors of
their tokens. A model that writes text reads in chunks, and the pooling is done here: for whole texts llama.cpp would
hold the logits of all their tokens, which take a thousand times the memory of the vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_cpp import llama_cpp as native

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.batch import Batch
from modular_pluralism.llama.captured_log import captured_log
from modular_pluralism.llama.context import DecodeError
from modular_pluralism.llama.memory import no_context
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.model_kind import pooling_type, sees_what_follows
from modular_pluralism.llama.parameters import vector_parameters

TEXTS = 64
"""The most texts that are read at once."""

Vectors = npt.NDArray[np.float32]
"""One row for each text: [texts, dimensions]."""


class VectorContext:
    """Reads texts of together up to `length` tokens. Not thread-safe.

    Raises:
        ModelLoadError: llama.cpp cannot make it, for lack of memory as a rule.
    """

    def __init__(self, model: ModelFile, hardware: Hardware, length: int, threads: int) -> None:
        self._model = model
        self.length = length
        self.dimensions: int = native.llama_model_n_embd_out(model.pointer)
        self._pooling = pooling_type(model.pointer)
        self._batch_size = min(hardware.ubatch, length)
        self._whole = sees_what_follows(model.pointer)
        self._pointer = None if self._whole else self._made(hardware, threads, native.LLAMA_POOLING_TYPE_NONE)
        if self._pointer is not None and not native.llama_get_memory(self._pointer):
            native.llama_free(self._pointer)
            self._whole, self._pointer = True, None
        if self._pointer is None:
            self._batch_size = length
            self._pointer = self._made(hardware, threads, self._pooling)
        self._memory = native.llama_get_memory(self._pointer)
        self._batch = Batch(self._batch_size)

    def _made(self, hardware: Hardware, threads: int, pooling: int) -> Any:
        parameters = vector_parameters(
            hardware, length=self.length, batch=self._batch_size, texts=TEXTS, threads=threads, pooling=pooling
        )
        with captured_log() as log:
            pointer = native.llama_init_from_model(self._model.pointer, parameters)
        if not pointer:
            raise ModelLoadError(no_context(self._model.path, 1, self.length, log))
        return pointer

    def groups(self, rows: Sequence[Sequence[int]]) -> Iterator[Sequence[Sequence[int]]]:
        """The texts, in order, as many at a time as `vectors` takes."""
        start = tokens = 0
        for place, row in enumerate(rows):
            if place > start and (tokens + len(row) > self.length or place - start == TEXTS):
                yield rows[start:place]
                start, tokens = place, 0
            tokens += len(row)
        if rows:
            yield rows[start:]

    def vectors(self, rows: Sequence[Sequence[int]]) -> Vectors:
        """The vectors of texts, given as their tokens; each of length 1.

        Raises:
            DecodeError: llama.cpp could not, or gave what is no vector.
        """
        if self._memory:
            native.llama_memory_clear(self._memory, True)
        pooled = self._pooled_whole(rows) if self._whole else self._pooled_in_chunks(rows)
        lengths = np.linalg.norm(pooled, axis=1, keepdims=True)
        if not (np.isfinite(lengths).all() and lengths.all()):
            raise DecodeError("the vector of a text is zero or not finite")
        vectors: Vectors = (pooled / lengths).astype(np.float32)
        return vectors

    def _pooled_whole(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.floating[Any]]:
        self._batch.clear()
        for place, row in enumerate(rows):
            self._batch.add(row, 0, place, 0)
        self._compute()
        found = [native.llama_get_embeddings_seq(self._pointer, place) for place in range(len(rows))]
        return np.array([np.ctypeslib.as_array(each, (self.dimensions,)) for each in found])

    def _pooled_in_chunks(self, rows: Sequence[Sequence[int]]) -> npt.NDArray[np.floating[Any]]:
        pooled = np.zeros((len(rows), self.dimensions))
        parts: list[tuple[int, int, Sequence[int]]] = []  # text, position, tokens
        room = self._batch_size
        for place, row in enumerate(rows):
            position = 0
            while position < len(row):
                part = row[position : position + room]
                parts.append((place, position, part))
                position, room = position + len(part), room - len(part)
                if not room:
                    self._add_chunk(parts, rows, pooled)
                    parts, room = [], self._batch_size
        if parts:
            self._add_chunk(parts, rows, pooled)
        return pooled

    def _add_chunk(
        self,
        parts: Sequence[tuple[int, int, Sequence[int]]],
        rows: Sequence[Sequence[int]],
        pooled: npt.NDArray[np.floating[Any]],
    ) -> None:
        self._batch.clear()
        for place, position, tokens in parts:
            self._batch.add(tokens, position, place, 0)
        self._compute()
        found = np.ctypeslib.as_array(native.llama_get_embeddings(self._pointer), (self._batch.count, self.dimensions))
        start = 0
        for place, position, tokens in parts:
            of_text = found[start : start + len(tokens)]
            start += len(tokens)
            if self._pooling == native.LLAMA_POOLING_TYPE_MEAN:
                pooled[place] += of_text.sum(axis=0, dtype=np.float64)
            elif self._pooling == native.LLAMA_POOLING_TYPE_CLS and position == 0:
                pooled[place] = of_text[0]
            elif self._pooling == native.LLAMA_POOLING_TYPE_LAST and position + len(tokens) == len(rows[place]):
                pooled[place] = of_text[-1]

    def _compute(self) -> None:
        compute = native.llama_decode if self._memory else native.llama_encode
        code = compute(self._pointer, self._batch.ready())
        if code != 0:
            raise DecodeError(f"llama.cpp returned {code}")

    def close(self) -> None:
        """Free it."""
        if self._pointer:
            self._batch.close()
            native.llama_free(self._pointer)
            self._pointer = None
