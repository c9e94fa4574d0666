"""What a connection may cost before any key is looked at, over real sockets; the seconds are short ones."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from modular_pluralism.connections import ConnectionLimits
from modular_pluralism.listening import Server, listen

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"
POST = b"POST /read HTTP/1.1\r\nHost: here\r\n"
QUICK = ConnectionLimits(head_seconds=0.3, body_seconds=0.5, rest_seconds=0.3, stalled_seconds=0.5, connections=8)
LARGE = b"x" * 60_000_000


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    with suppress(ClientDisconnect):
        if request.url.path == "/read":
            await request.body()
    await PlainTextResponse(LARGE if request.url.path == "/large" else "hello")(scope, receive, send)


async def served(client: Callable[[Server], None], limits: ConnectionLimits = QUICK) -> None:
    """A server, while `client` runs in a thread."""
    with listen("127.0.0.1", 0) as listener:
        server = Server(application, limits, log_config=None, lifespan="off", timeout_keep_alive=1)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(client, server)
        server.should_exit = True
        await serving


def connect(server: Server) -> socket.socket:
    address = server.servers[0].sockets[0].getsockname()
    return socket.create_connection(address, timeout=30)


def rest(connection: socket.socket) -> bytes:
    """What the server sends until it closes the connection, which it must."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def trickled(connection: socket.socket, piece: bytes) -> bytes:
    """What the server has sent when it closes, while the client goes on sending small pieces for ever."""
    connection.settimeout(0.05)
    got = b""
    while True:
        try:
            connection.sendall(piece)
            part = connection.recv(1 << 16)
        except TimeoutError:
            continue
        except OSError:
            return got
        if not part:
            return got
        got += part


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"", b""),
        (HEAD, b"408"),
        (HEAD + b"\r\n" + HEAD, b"200"),  # the next request on a connection that is kept alive
        (POST + b"Content-Length: 9\r\n\r\n123", b""),
    ],
    ids=["silence", "header", "second header", "body"],
)
async def test_who_stops_sending_is_hung_up_on(begun: bytes, status: bytes) -> None:
    def client(server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(begun)
            assert rest(connection)[9:12] == status

    await served(client)


@pytest.mark.parametrize(
    ("begun", "piece"),
    [
        (HEAD, b"a: b\r\n"),
        (HEAD + b"\r\n", b"a: b\r\n"),
        (POST + b"Content-Length: 1000000\r\n\r\n", b"1"),
        (POST.replace(b"/read", b"/") + b"Content-Length: 1000000\r\n\r\n", b"1"),
    ],
    ids=["header", "second header", "body", "body that nobody reads"],
)
async def test_who_trickles_is_hung_up_on(begun: bytes, piece: bytes) -> None:
    def client(server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(begun)
            trickled(connection, piece)

    await served(client)


async def test_who_takes_nothing_of_an_answer_is_hung_up_on() -> None:
    def client(server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(HEAD.replace(b" / ", b" /large ") + b"\r\n")
            assert connection.recv(1)
            while server.server_state.connections:
                time.sleep(0.02)

    await served(client)


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"a: " + b"x" * 3_000_000,
        HEAD + b"a: " + b"x" * 70_000 + b"\r\n\r\n",
        HEAD + b"a: b\r\n" * 200 + b"\r\n",
        HEAD + b"a: b\r\n" * 1_000_000,
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
        HEAD + b"\r\n" + HEAD + b"a: b\r\n" * 200 + b"\r\n",
    ],
    ids=["bytes without an end", "bytes", "lines", "lines without an end", "path", "second request"],
)
async def test_a_large_header_gets_431_and_is_not_kept(head: bytes) -> None:
    def client(server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(head)
            answer = rest(connection)
            assert b"HTTP/1.1 431 " in answer
            assert answer.endswith(b"The header is too large; send fewer and shorter fields.")

    await served(client, ConnectionLimits())


async def test_a_header_within_the_limits_is_answered() -> None:
    head = HEAD + b"Connection: close\r\n" + b"a: b\r\n" * 100 + b"b: " + b"x" * 60_000 + b"\r\n\r\n"

    def client(server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(head)
            assert rest(connection).endswith(b"hello")

    await served(client)


async def test_an_answer_reaches_who_is_still_sending() -> None:
    def client(server: Server) -> None:
        with connect(server) as connection:
            connection.sendall(POST.replace(b"/read", b"/") + b"Content-Length: 9000000\r\n\r\n" + b"x" * 9_000_000)
            assert rest(connection).endswith(b"hello")

    await served(client, ConnectionLimits())


@pytest.mark.parametrize(("size", "status"), [(1, b"400"), (1000, b"200")])
async def test_a_body_in_tiny_chunks_is_refused(size: int, status: bytes) -> None:
    chunk = b"%x\r\n%s\r\n" % (size, b"x" * size)
    body = (
        POST
        + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunk * (600_000 // len(chunk))
        + b"0\r\n\r\n"
    )

    def client(server: Server) -> None:
        with connect(server) as connection:
            try:
                connection.sendall(body)
            except ConnectionError:
                assert size == 1
            assert connection.recv(1 << 16)[9:12] == status

    await served(client, ConnectionLimits())


async def test_silent_connections_make_room_and_busy_ones_do_not() -> None:
    limits = ConnectionLimits(connections=8)

    def client(server: Server) -> None:
        with ExitStack() as stack:
            silent = [stack.enter_context(connect(server)) for _ in range(40)]
            with connect(server) as connection:
                connection.sendall(HEAD + b"Connection: close\r\n\r\n")
                assert rest(connection).endswith(b"hello")
            assert _closed(silent) >= 32
            busy = [stack.enter_context(connect(server)) for _ in range(8)]
            for each in busy:
                each.sendall(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
                assert each.recv(1 << 16)[9:12] == b"100"  # it is being worked on
            with connect(server) as connection:
                assert rest(connection)[9:12] == b"503"
            for each in busy:
                each.sendall(b"12")
                assert each.recv(1 << 16)[9:12] == b"200"

    await served(client, limits)


def _closed(connections: list[socket.socket]) -> int:
    count = 0
    for each in connections:
        each.settimeout(0.01)
        try:
            count += not each.recv(1)
        except TimeoutError:
            pass
        except ConnectionError:
            count += 1
    return count
