"""Sending an answer, for as long as there is somebody to send it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from modular_pluralism.serving.api_error import ApiError, api_error, stopping
from modular_pluralism.serving.exchange import Exchange
from modular_pluralism.serving.gate import Gate
from modular_pluralism.serving.parallel import pumped
from modular_pluralism.serving.request_log import RequestLog
from modular_pluralism.serving.wire import sse, to_json

Whole = Callable[[], Awaitable[dict[str, Any]]]
Parts = Callable[[], AsyncIterator[dict[str, Any]]]

PATIENCE = 60.0
"""Seconds for a client to take a part of its answer; one that does not holds a place for nothing, and has gone."""
CLIENT_GONE = 499
"""The status that the log shows where the client went away first; nobody is sent it."""


class ClientGoneError(Exception):
    """The client does not take what it is sent."""


class Reply(Response):
    """Does the work once there is a place for it, and sends what comes out: one object, or a stream of events.

    The work is cancelled when the client goes away, and when the server's grace period is over. A stream's status is
    sent with its first part, so that what fails before has an error status; what fails later becomes an error event,
    and the stream ends without [DONE].
    """

    def __init__(
        self, exchange: Exchange, gate: Gate, log: RequestLog, work: Whole | None, parts: Parts | None
    ) -> None:
        super().__init__()
        self._exchange = exchange
        self._gate = gate
        self._log = log
        self._work = work
        self._parts = parts
        self._begun = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Response."""
        work = asyncio.create_task(self._do(_impatient(send)))
        gone = asyncio.create_task(_until_gone(receive))
        over = asyncio.create_task(self._gate.over.wait())
        try:
            await asyncio.wait({work, gone, over}, return_when=asyncio.FIRST_COMPLETED)
            if work.done() and not isinstance(work.exception(), ClientGoneError):
                work.result()
                return
            has_gone = work.done() or gone.done()
            await _cancelled(work)
            if has_gone:
                self._exchange.status, self._exchange.error = CLIENT_GONE, "client_gone"
            else:
                await self._fail(_impatient(send), stopping(1))
        finally:
            for task in (work, gone, over):
                await _cancelled(task)

    async def _do(self, send: Send) -> None:
        try:
            async with self._gate.place(self._exchange.key):
                if self._work is not None:
                    data = to_json(await self._work())
                    self._exchange.first_byte()
                    await self._begin(send, 200, "application/json", {"content-length": str(len(data))})
                    await send(_body(data))
                elif self._parts is not None:
                    await self._stream(send, self._parts())
        except ClientGoneError:
            raise
        except Exception as error:
            told = api_error(error)
            if told.status == 500:
                self._log.mistake(self._exchange, error)
            await self._fail(send, told)

    async def _stream(self, send: Send, parts: AsyncIterator[dict[str, Any]]) -> None:
        async with pumped(parts) as items:
            async for item in items:
                if not self._begun:
                    self._exchange.first_byte()
                    await self._begin(send, 200, "text/event-stream", {"cache-control": "no-cache"})
                await send(_body(sse(item), more=True))
        await send(_body(sse("[DONE]")))

    async def _begin(self, send: Send, status: int, kind: str, headers: dict[str, str]) -> None:
        self._begun = True
        self._exchange.status = status
        every = {"content-type": kind, **headers}
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode()) for name, value in every.items()],
            }
        )

    async def _fail(self, send: Send, error: ApiError) -> None:
        self._exchange.error = error.code or error.kind
        if self._begun:
            await send(_body(sse(error.body())))
            return
        data = to_json(error.body())
        await self._begin(send, error.status, "application/json", {"content-length": str(len(data)), **error.headers()})
        await send(_body(data))


def _impatient(send: Send) -> Send:
    """`send`, which does not wait for ever."""

    async def within(message: Message) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await send(message)
        except TimeoutError:
            raise ClientGoneError from None

    return within


def _body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
