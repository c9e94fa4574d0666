"""How much an endpoint may send: what comes is unfolded and counted as it comes, so that no reply fills the memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

from httpx2 import AsyncByteStream, Response, SyncByteStream

from modular_pluralism.errors import ModelCallError

ACCEPTED = {"Accept-Encoding": "gzip, deflate"}
"""What can be unfolded piece by piece, as a request's header."""
_MOST = 4 * 2**20
"""Bytes of a reply, besides those of its tokens."""
_OF_A_TOKEN = 4096
"""Bytes of an event with one token, at most."""
_OF_A_VECTOR = 2**18
"""Bytes of the vector of one text, at most."""
_MOST_TOKENS = 2**17
_USUAL_TOKENS = 3072
"""Where a request says no limit."""
_PIECE = 2**16


def bounding(place: str) -> Callable[[Response], None]:
    """A hook for the responses of an HTTP client: a body of more than 4 MiB, and 4 KiB a token or 256 KiB a vector that
    the request asks for, raises ModelCallError while it is read, and its connection is closed. `place` names the model
    in messages."""

    def bound(response: Response) -> None:
        response.stream = _Bounded(response, place)
        response.headers.pop("content-encoding", None)  # it comes unfolded

    return bound


def abounding(place: str) -> Callable[[Response], Awaitable[None]]:
    """As `bounding`, for a client of asyncio."""
    bound = bounding(place)

    async def abound(response: Response) -> None:
        bound(response)

    return abound


class _Bounded(SyncByteStream, AsyncByteStream):
    """A response's body, unfolded and counted."""

    def __init__(self, response: Response, place: str) -> None:
        self._stream: Any = response.stream
        self._place = place
        self._most = self._left = _MOST + _asked_bytes(response.request.content)
        self._zip: Any = None
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("gzip", "x-gzip", "deflate"):
            self._zip = zlib.decompressobj(zlib.MAX_WBITS | 32)  # whichever of them it is
        elif encoding not in ("identity", ""):
            raise ModelCallError(
                f"{place} sent a reply in an encoding that was not asked for ({encoding[:40]!r}); check the proxy "
                "before it."
            )

    def __iter__(self) -> Iterator[bytes]:
        for data in self._stream:
            yield from self._counted(data)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            for piece in self._counted(data):
                yield piece

    def close(self) -> None:
        self._stream.close()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _counted(self, data: bytes) -> Iterator[bytes]:
        for piece in [data] if self._zip is None else self._unfolded(data):
            self._left -= len(piece)
            if self._left < 0:
                raise ModelCallError(
                    f"{self._place} sent a reply of more than {self._most / 2**20:.3g} MiB; check that it obeys "
                    "max_tokens, and that base_url is the address of an OpenAI-compatible endpoint."
                )
            yield piece

    def _unfolded(self, data: bytes) -> Iterator[bytes]:
        piece = b" " * _PIECE
        while data or len(piece) == _PIECE:
            try:
                piece = self._zip.decompress(data, _PIECE)
            except zlib.error:
                raise ModelCallError(
                    f"{self._place} sent a reply that cannot be unfolded; check the proxy before it."
                ) from None
            data = self._zip.unconsumed_tail
            yield piece


def _asked_bytes(body: bytes) -> int:
    """How many bytes the tokens, or the vectors, are that a request asks for at most."""
    tokens = _USUAL_TOKENS
    with suppress(ValueError, RecursionError):
        asked = json.loads(body)
        if isinstance(asked, dict):
            if isinstance(texts := asked.get("input"), list):
                return _OF_A_VECTOR * len(texts)
            most = asked.get("max_completion_tokens") or asked.get("max_tokens")
            tokens = max(0, min(most, _MOST_TOKENS)) if isinstance(most, int) else _USUAL_TOKENS
    return _OF_A_TOKEN * tokens
