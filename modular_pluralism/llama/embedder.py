"""One model that gives vectors, and the one thread that computes them for everybody who asks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from modular_pluralism.errors import ContextOverflowError, EngineClosedError, InputError, ModelCallError
from modular_pluralism.llama.context import DecodeError
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.llama.memory import longest_sequence, plan_weights
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.settings import EngineSettings
from modular_pluralism.llama.trial import try_first
from modular_pluralism.llama.vector_context import VectorContext, Vectors

G = TypeVar("G")
T = TypeVar("T")

EmbedderInput = str | Sequence[int]
"""A text, or the tokens that the model reads."""


@dataclass(frozen=True)
class Embedded:
    """The vectors of texts, each of length 1, and how many tokens were read for them."""

    vectors: Vectors
    tokens: int


class Embedder:
    """Gives vectors of texts, in a context of its own.

    Args:
        settings: Of these, the file, the longest text (`context`), the threads and the hardware are used.
        weights: Those of the file, where they are loaded already; they become this embedder's to close.

    Raises:
        ModelLoadError: the file cannot be loaded, or its model gives no vectors.
    """

    def __init__(self, settings: EngineSettings, weights: ModelFile | None = None) -> None:
        self.model = weights or ModelFile(settings.gguf, settings.hardware, plan_weights(settings), vectors=True)
        try:
            try_first(settings.gguf, "vectors")
            length = longest_sequence(settings, self.model.n_ctx_train)
            self._context = VectorContext(self.model, settings.hardware, length, settings.threads or usable_cores())
        except BaseException:
            self.model.close()
            raise
        self.dimensions = self._context.dimensions
        """How many numbers a vector has."""
        self._process = os.getpid()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"vectors {settings.gguf.name}")

    def embed(self, inputs: Sequence[EmbedderInput]) -> Embedded:
        """The vectors of texts. Others who ask at the same time take turns with them.

        Raises:
            InputError: there is no text, one is empty, or a token is not in the vocabulary.
            ContextOverflowError: a text is longer than the context; the message has both lengths.
            EngineClosedError: the embedder has been closed.
            ModelCallError: llama.cpp could not.
        """
        rows = self._submit(self._rows, inputs).result()
        return _joined(rows, [self._submit(self._vectors, group).result() for group in self._context.groups(rows)])

    async def aembed(self, inputs: Sequence[EmbedderInput]) -> Embedded:
        """As `embed`, for asyncio; cancelling the task ends the work after the texts that are being read."""
        rows = await asyncio.wrap_future(self._submit(self._rows, inputs))
        groups = self._context.groups(rows)
        return _joined(rows, [await asyncio.wrap_future(self._submit(self._vectors, group)) for group in groups])

    @property
    def closed(self) -> bool:
        """Whether it has been closed, or stayed with the process that this one was forked from."""
        return self._closing or self._process != os.getpid()

    def close(self) -> None:
        """Free the context, and the weights where nobody else has them. Safe to call twice."""
        if self.closed:
            return
        self._closing = True
        self._thread.shutdown()
        self._context.close()
        self.model.close()

    def _submit(self, work: Callable[[G], T], given: G) -> Future[T]:
        if not self.closed:
            try:
                return self._thread.submit(self._unless_closed, work, given)
            except RuntimeError:  # closed meanwhile
                pass
        raise self._closed()

    def _unless_closed(self, work: Callable[[G], T], given: G) -> T:
        if self._closing:
            raise self._closed()
        return work(given)

    def _closed(self) -> EngineClosedError:
        return EngineClosedError(f"The embeddings of {self.model.path.name} are closed; ask again to open them anew.")

    # -- in the thread -------------------------------------------------------------------------------------------------

    def _rows(self, inputs: Sequence[EmbedderInput]) -> list[list[int]]:
        """The tokens of each text."""
        if not inputs:
            raise InputError("There is no text to embed; give at least one.")
        return [self._row(each, f"Text {number}") for number, each in enumerate(inputs, 1)]

    def _row(self, given: EmbedderInput, name: str) -> list[int]:
        if isinstance(given, str):
            # What a user wrote is never read as a control token.
            row = self.model.tokenize(given, parse_special=False, add_special=True) if given.strip() else []
        else:
            row = list(given)
        if not row:
            raise InputError(f"{name} is empty; leave it out, or give it words.")
        if not 0 <= min(row) <= max(row) < self.model.n_vocab:
            raise InputError(
                f"{name} has a token that is not in the vocabulary of {self.model.path.name} (0 to "
                f"{self.model.n_vocab - 1}); give texts, or tokens of this model."
            )
        if len(row) > self._context.length:
            raise ContextOverflowError(
                f"{name} has {len(row)} tokens and the context of {self.model.path.name} holds "
                f"{self._context.length}; shorten the text, or give the model a larger context where it was trained "
                "for that."
            )
        return row

    def _vectors(self, rows: Sequence[Sequence[int]]) -> Vectors:
        try:
            return self._context.vectors(rows)
        except DecodeError as error:
            raise ModelCallError(f"{self.model.path.name} gave no vectors: {error}.") from error


def _joined(rows: Sequence[Sequence[int]], vectors: Sequence[Vectors]) -> Embedded:
    return Embedded(np.concatenate(vectors), sum(map(len, rows)))
