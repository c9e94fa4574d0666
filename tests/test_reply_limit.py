"""An endpoint sends what it likes: what is taken of it has a limit, whole and streamed, folded and unfolded."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from modular_pluralism.errors import ModelCallError
from modular_pluralism.graphs import build_overton
from modular_pluralism.models import remote_chat
from modular_pluralism.models.reply_limit import abounding, bounding
from tests.fake_endpoint import Behaviour, FakeEndpoint
from tests.test_remote import remote_pool

MIB = 2**20
FOLDED = zlib.compress(bytes(300 * MIB), 9)


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """As `data` comes in pieces; how many of them were taken."""

    def __init__(self, data: bytes) -> None:
        self.pieces = [data[at : at + 4096] for at in range(0, len(data), 4096)]
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            self.taken += 1
            yield piece

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def _pieces(body: Body, headers: dict[str, str], asked: dict[str, Any], *, asynchronous: bool) -> Iterator[int]:
    """The lengths of what a client reads of a body, as it reads them."""
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, stream=body))
    if not asynchronous:
        hooks: dict[str, Any] = {"response": [bounding("model 'm'")]}
        with (
            httpx2.Client(transport=transport, event_hooks=hooks) as client,
            client.stream("POST", "http://far.example", json=asked) as response,
        ):
            yield from map(len, response.iter_bytes())
        return
    lengths: list[int] = []

    async def read() -> None:
        async with (
            httpx2.AsyncClient(transport=transport, event_hooks={"response": [abounding("model 'm'")]}) as client,
            client.stream("POST", "http://far.example", json=asked) as response,
        ):
            async for piece in response.aiter_bytes():
                lengths.append(len(piece))

    try:
        asyncio.run(read())
    finally:
        yield from lengths


def _read(body: Body, headers: dict[str, str], asked: dict[str, Any], *, asynchronous: bool) -> tuple[list[int], str]:
    lengths: list[int] = []
    try:
        for length in _pieces(body, headers, asked, asynchronous=asynchronous):
            lengths.append(length)
    except ModelCallError as error:
        return lengths, str(error)
    return lengths, ""


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(("asked", "most"), [({}, 16), ({"max_tokens": 1024}, 8), ({"max_tokens": "many"}, 16)])
def test_what_unfolds_is_counted_unfolded(asynchronous: bool, asked: dict[str, Any], most: int) -> None:
    body = Body(FOLDED)
    lengths, told = _read(body, {"content-encoding": "deflate"}, asked, asynchronous=asynchronous)
    assert told.startswith(f"model 'm' sent a reply of more than {most} MiB; check that it obeys max_tokens")
    assert most * MIB - 2**16 <= sum(lengths) <= most * MIB
    assert max(lengths) <= 2**16
    assert body.taken < len(body.pieces) / 8
    assert body.closed


@pytest.mark.parametrize("encoding", ["gzip", "deflate", None])
@pytest.mark.parametrize("size", [0, 1, 2**16, 2**16 + 1, 3 * MIB])
def test_what_is_small_enough_is_unfolded_whole(encoding: str | None, size: int) -> None:
    said = (b"A reply. " * (size // 9 + 1))[:size]
    bits = zlib.MAX_WBITS | (16 if encoding == "gzip" else 0)
    folder = zlib.compressobj(9, zlib.DEFLATED, bits)
    sent = said if encoding is None else folder.compress(said) + folder.flush()
    headers = {} if encoding is None else {"content-encoding": encoding, "content-length": str(len(sent))}
    lengths, told = _read(Body(sent), headers, {}, asynchronous=False)
    assert (sum(lengths), told) == (size, "")


@pytest.mark.parametrize(
    ("encoding", "told"), [("br", "an encoding that was not asked for ('br')"), ("gzip", "cannot be unfolded")]
)
def test_what_cannot_be_unfolded_is_told(encoding: str, told: str) -> None:
    lengths, said = _read(Body(b"no gzip at all"), {"content-encoding": encoding}, {}, asynchronous=False)
    assert told in said
    assert lengths == []


@pytest.mark.parametrize(
    ("behaviour", "streamed", "told"),
    [
        ("endless_body", False, "a reply of more than 4.5 MiB"),
        ("endless_body", True, "a reply of more than 4.5 MiB"),
        ("endless_events", True, "a reply in more than 768 parts"),
        ("unfolding", False, "a reply of more than 4.5 MiB"),
        ("unfolding", True, "a reply of more than 4.5 MiB"),
    ],
)
def test_a_community_without_an_end_is_missing_and_is_not_read_on(
    behaviour: Behaviour, streamed: bool, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_chat, "MOST_PARTS", 256)
    with FakeEndpoint().running() as endpoint:
        endpoint.behave("south", behaviour)
        pool = remote_pool(endpoint.address, run="deadline = 120.0\nquorum = 2\ncomment_tokens = 128")
        graph = build_overton(pool).compile()
        state: Any = None
        modes: list[Any] = ["messages", "values"] if streamed else ["values"]
        for kind, part in graph.stream({"question": "Why?"}, stream_mode=modes):
            state = part if kind == "values" else state
        assert state["missing"] == ["south"]
        assert f"sent {told}; check that it obeys max_tokens" in state["comments"]["south"]["error"]
        assert len(endpoint.asked("south")) == 1, "asked once"
        assert endpoint.sent < 24 * MIB
