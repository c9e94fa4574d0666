"""Sending to clients over real connections, where the server does what it does in an order that a test can choose."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from modular_pluralism.listening import listen
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.request_log import Exchange
from modular_pluralism.serving.sending import AnswerResponse, whole_json

REQUEST = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n"


class OneAnswer:
    """A server that gives the same answer to everybody, and what became of each request."""

    def __init__(self, parts: Any, *, streamed: bool = True) -> None:
        self.exchanges: list[Exchange] = []
        self.gate: Gate | None = None
        self._parts = parts
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange("one", "POST", "/", streamed=self._streamed)
        self.gate = self.gate or Gate(Limits())
        try:
            await AnswerResponse(exchange, self.gate, self._parts())(scope, receive, send)
        finally:
            self.exchanges.append(exchange)

    async def asked(self, client: Any) -> None:
        """Serve while `client`, which is given the port, runs in a thread."""
        with listen("127.0.0.1", 0) as listener:
            server = uvicorn.Server(uvicorn.Config(self, log_config=None, lifespan="off", timeout_graceful_shutdown=5))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(client, listener.getsockname()[1])
            server.should_exit = True
            await serving


async def test_nothing_is_written_to_a_connection_that_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    standing, gone = threading.Event(), threading.Event()

    async def parts() -> AsyncIterator[dict[str, Any]]:
        yield {"part": 0}
        await asyncio.sleep(0.05)  # it is sent
        standing.set()
        gone.wait(30)  # the whole loop stands still, and cannot hear that the client goes
        for part in range(1, 50):
            yield {"part": part}

    def client(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(REQUEST)
            while b"part" not in connection.recv(4096):
                pass
            standing.wait(30)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.set()

    served = OneAnswer(parts)
    await served.asked(client)
    assert [exchange.status for exchange in served.exchanges] == [499]
    assert not caplog.records


@pytest.mark.parametrize("answer", [{}, {"a": [], "b": "é"}, {"a": [1, [2], {"b": None}], "c": {"d": [1.5, "x"]}}])
def test_a_whole_answer_is_written_as_json_is(answer: dict[str, Any]) -> None:
    assert whole_json(answer).decode() == json.dumps(answer, ensure_ascii=False)
    assert whole_json({"a": iter([1, [2]])}) == b'{"a": [1, [2]]}'


async def test_a_server_that_stops_adds_nothing_to_an_answer_that_is_whole() -> None:
    async def parts() -> AsyncIterator[dict[str, Any]]:
        yield {"part": 0}

    served, sent = OneAnswer(parts, streamed=False), list[Any]()

    async def send(message: Any) -> None:
        sent.append(message)
        assert served.gate is not None
        served.gate.over.set()
        await asyncio.sleep(0.01)

    await served({"type": "http"}, asyncio.Event().wait, send)  # type: ignore[arg-type]
    assert [message.get("body") for message in sent] == [None, b'{"part": 0}']
