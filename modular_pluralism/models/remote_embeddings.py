"""Vectors of texts from an endpoint or a provider: asked for with retries and a deadline, and checked as they come."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.runnables import RunnableConfig
from langchain_openai import OpenAIEmbeddings

from modular_pluralism.checked import checked as checked_arguments
from modular_pluralism.errors import ModelCallError
from modular_pluralism.models.calls import Call, Caller
from modular_pluralism.models.reply_parts import TokenCounts

_AT_ONCE = 1000
"""Texts in one call; OpenAI takes 2048."""

Vectors = list[list[float]]


class RemoteVectors(NamedTuple):
    """Vectors of texts, and how many tokens the endpoint counted for them."""

    vectors: Vectors
    tokens: int


class RemoteEmbeddings(OpenAIEmbeddings):
    """OpenAIEmbeddings, whose replies are checked as they come.

    Raises (at a call, besides what OpenAI's client raises):
        ModelCallError: the reply holds no vectors, or not one for each text.
    """

    async def avectors(self, given: Sequence[Any], dimensions: int | None = None) -> RemoteVectors:
        """The vectors of texts, or of texts as their tokens; shorter ones where that is wanted."""
        return _read(await self.async_client.create(**self._payload(given, dimensions)), len(given))

    def embed_documents(self, texts: list[str], chunk_size: int | None = None, **kwargs: Any) -> Vectors:
        """See Embeddings."""
        return _read(self.client.create(**self._payload(texts), **kwargs), len(texts)).vectors

    async def aembed_documents(self, texts: list[str], chunk_size: int | None = None, **kwargs: Any) -> Vectors:
        """See Embeddings."""
        return (await self.avectors(texts)).vectors

    def _payload(self, given: Sequence[Any], dimensions: int | None = None) -> dict[str, Any]:
        more = {} if dimensions is None else {"dimensions": dimensions}
        # Not every endpoint knows base64, which the client asks for where nothing is said.
        return {"input": given, "model": self.model, "encoding_format": "float", **more}


def _read(response: Any, texts: int) -> RemoteVectors:
    """What an endpoint's reply holds."""
    reply = response.model_dump(warnings=False) if hasattr(response, "model_dump") else None
    rows, usage = (reply.get("data"), reply.get("usage")) if isinstance(reply, dict) else (None, None)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ModelCallError("the endpoint's reply holds no vectors")
    tokens = TokenCounts.of_openai(usage).prompt or 0
    return RemoteVectors(checked([row.get("embedding") for row in rows], texts), tokens)


def checked(vectors: Any, texts: int) -> Vectors:
    """The vectors, one for each text.

    Raises:
        ModelCallError: they are no vectors, or too many or few.
    """
    if not (isinstance(vectors, list) and len(vectors) == texts and all(map(_is_vector, vectors))):
        raise ModelCallError("the reply does not hold a vector for each text")
    if len(set(map(len, vectors))) > 1:
        raise ModelCallError("the reply holds vectors of different lengths")
    return [[float(number) for number in vector] for vector in vectors]


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_finite, value))


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, float | int | np.floating) and type(value) is not bool and math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


class CalledEmbeddings(Embeddings):
    """Embeddings that are asked with retries and a deadline, for at most a thousand texts in one call.

    Args:
        opened: Gives what gives the vectors, whose connections are those of the event loop that it is asked on.
        place: What messages call it.
        caller: How it is called.

    Raises (when texts are given):
        InputError: they are no list of texts.
        DeadlineError, ModelCallError: see Caller.
    """

    def __init__(self, opened: Callable[[], Embeddings], place: str, caller: Caller) -> None:
        self._opened = opened
        self.place = place
        self._caller = caller

    @property
    def inner(self) -> Embeddings:
        """What gives the vectors on this event loop."""
        return self._opened()

    @checked_arguments
    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """A vector for each text."""
        return [vector for call in self._calls(texts) for vector in self._caller.call(call, {}).value]

    @checked_arguments
    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self._caller.call(self._query(text), {}).value[0]

    @checked_arguments
    async def aembed_documents(self, texts: Sequence[str]) -> Vectors:
        """As `embed_documents`, for asyncio."""
        return [vector for call in self._calls(texts) for vector in (await self._caller.acall(call, {})).value]

    @checked_arguments
    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`, for asyncio."""
        return (await self._caller.acall(self._query(text), {})).value[0]

    def _calls(self, texts: Sequence[str]) -> list[Call[Vectors]]:
        starts = range(0, len(texts), _AT_ONCE)
        return [self._documents(list(texts[start : start + _AT_ONCE])) for start in starts]

    def _documents(self, texts: list[str]) -> Call[Vectors]:
        inner = self.inner
        return self._call(len(texts), lambda: inner.embed_documents(texts), lambda: inner.aembed_documents(texts))

    def _query(self, text: str) -> Call[Vectors]:
        inner = self.inner

        async def ask() -> Vectors:
            return [await inner.aembed_query(text)]

        return self._call(1, lambda: [inner.embed_query(text)], ask)

    def _call(self, texts: int, ask: Callable[[], Vectors], aask: Callable[[], Awaitable[Vectors]]) -> Call[Vectors]:
        def run(_: RunnableConfig) -> Vectors:
            return checked(ask(), texts)

        async def arun(_: RunnableConfig) -> Vectors:
            return checked(await aask(), texts)

        return Call(self.place, run, arun)
