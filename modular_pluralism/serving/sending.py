"""Sending an answer, for as long as there is somebody to send it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, NoReturn

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from modular_pluralism.serving.api_error import ApiError, api_error, stopping
from modular_pluralism.serving.concurrency import pumped
from modular_pluralism.serving.limits import Gate
from modular_pluralism.serving.request_log import Exchange

PATIENCE = 60.0
"""Seconds for a client to take a part of its answer; one that does not holds a turn for nothing, and has gone."""
EVENT_STREAM = "text/event-stream; charset=utf-8"
CLIENT_GONE = 499
"""The status that the log shows where the client went away first; nobody is sent it."""


class ClientGoneError(Exception):
    """The client does not take what it is sent, or has hung up."""


class AnswerResponse(Response):
    """Makes the parts of an answer when its turn comes, and sends them: one object, or of a stream all as events.

    The work is cancelled when the client goes away, and when the server's grace period is over. A stream's status is
    sent with its first part, so that what fails before is raised and gets an error status; what fails later becomes an
    error event, too, and the stream ends without [DONE].
    """

    def __init__(self, exchange: Exchange, gate: Gate, parts: AsyncIterator[dict[str, Any]]) -> None:
        super().__init__()
        self._exchange = exchange
        self._gate = gate
        self._parts = parts
        self._begun = False
        self._ended = False
        """Nothing else is to be sent: a whole answer is on its way, or a stream has its end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See Response."""
        send = _impatient(send)
        work = asyncio.create_task(self._do(send))
        gone = asyncio.create_task(_until_gone(receive))
        over = asyncio.create_task(self._gate.over.wait())
        try:
            await asyncio.wait({work, gone, over}, return_when=asyncio.FIRST_COMPLETED)
            # To the server, a client that has its whole answer is gone, too.
            if not (work.done() or self._ended):
                await _cancelled(work)
                await self._break_off(send, ClientGoneError() if gone.done() else stopping(1))
            await work
        except ClientGoneError:
            self._exchange.status, self._exchange.error = CLIENT_GONE, "client_gone"
        finally:
            for task in (work, gone, over):
                await _cancelled(task)

    async def _do(self, send: Send) -> None:
        try:
            async with self._gate.turn(self._exchange.key), pumped(self._parts) as parts:
                if self._exchange.streamed:
                    await self._stream(send, parts)
                else:
                    (answer,) = [part async for part in parts]
                    data = await asyncio.to_thread(whole_json, answer)
                    self._ended = True  # a part of it would be no answer
                    await self._begin(send, {"content-type": "application/json", "content-length": str(len(data))})
                    await send(_body(data))
        except Exception as error:
            await self._break_off(send, error)

    async def _stream(self, send: Send, parts: AsyncIterator[dict[str, Any]]) -> None:
        async for part in parts:
            if not self._begun:
                await self._begin(send, {"content-type": EVENT_STREAM, "cache-control": "no-cache"})
            await send(_body(self._event(part), more=True))
        await send(_body(self._last))
        self._ended = True

    async def _begin(self, send: Send, headers: dict[str, str]) -> None:
        self._begun = True
        self._exchange.first_byte()
        raw = [(name.encode(), value.encode()) for name, value in {**headers, **self._exchange.headers}.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})

    async def _break_off(self, send: Send, error: Exception) -> NoReturn:
        if self._begun and not self._ended and not isinstance(error, ClientGoneError):
            await send(_body(self._error(api_error(error))))
        raise error

    # -- how a stream is written ---------------------------------------------------------------------------------------

    _last = b"data: [DONE]\n\n"

    def _event(self, part: dict[str, Any]) -> bytes:
        return b"data: " + _json(part) + b"\n\n"

    def _error(self, error: ApiError) -> bytes:
        return self._event(error.body())


class NamedEventsResponse(AnswerResponse):
    """The same for /v1/responses: every event has a name, an error is one of them, and nothing follows the last."""

    _last = b""
    _number = 0

    def _event(self, part: dict[str, Any]) -> bytes:
        self._number += 1
        return b"event: " + str(part["type"]).encode() + b"\n" + super()._event(part)

    def _error(self, error: ApiError) -> bytes:
        told = error.body()["error"]
        facts = {name: told[name] for name in ("code", "message", "param")}
        return self._event({"type": "error", **facts, "sequence_number": self._number})


def _json(data: Any) -> bytes:
    # Numbers that JSON has not are a mistake of ours, and not sent.
    return json.dumps(data, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")


def whole_json(data: dict[str, Any]) -> bytes:
    """As `_json`, entry by entry of lists and iterators, which may be very long: others can work meanwhile."""

    def written(value: Any) -> bytes:
        return b"[" + b", ".join(map(_json, value)) + b"]" if isinstance(value, list | Iterator) else _json(value)

    return b"{" + b", ".join(_json(name) + b": " + written(value) for name, value in data.items()) + b"}"


def _impatient(send: Send) -> Send:
    """`send`, which does not wait for ever."""

    async def within(message: Message) -> None:
        # Many parts may be there at once. Without a break the loop would not get to hear between two of them that the
        # connection is lost, and would be written to on and on, of which asyncio complains.
        await asyncio.sleep(0)
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
