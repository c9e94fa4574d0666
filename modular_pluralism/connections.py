"""What a connection may cost before anybody knows whose it is: bytes and lines of a header, seconds, and how many there
are. uvicorn itself waits for a header for ever."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_BLANK_LINE = re.compile(rb"\n\r?\n")
_REASONS = {
    408: (b"Request Timeout", b"The request did not arrive in time; send it at once."),
    431: (b"Request Header Fields Too Large", b"The header is too large; send fewer and shorter fields."),
    503: (b"Service Unavailable", b"Too many connections are open; try again soon."),
}


@dataclass(frozen=True)
class ConnectionLimits:
    """What any client may ask of a listening process, with a key or without."""

    head_bytes: int = 1 << 16
    """Bytes of a request's header, the first line included; more get status 431."""
    head_lines: int = 128
    """Lines of it; more get status 431."""
    head_seconds: float = 10.0
    """For a header to arrive whole; then status 408 where a part has come, and the connection is closed."""
    body_seconds: float = 75.0
    """For the body; then the connection is closed."""
    rest_seconds: float = 5.0
    """For what is still sent when the answer is there already, and for what was sent to be taken when it is closed."""
    stalled_seconds: float = 75.0
    """For a client that takes nothing of its answer; then the connection is closed."""
    body_pieces: int = 4096
    """Chunks in which what has arrived at once may be cut; more get status 400."""
    connections: int = 1024
    """Connections at once, or half of the open files that the process may have, where these are fewer. One more takes
    the place of the one that has waited longest for a header; where none does, it gets status 503."""


def _open_files() -> int:
    """How many files this process may have open."""
    with suppress(ImportError):  # Windows says no number
        import resource

        if (files := resource.getrlimit(resource.RLIMIT_NOFILE)[0]) != resource.RLIM_INFINITY:
            return files
    return sys.maxsize


class _Bounded(h11.Connection):
    """Refuses headers that are too large, whole ones too, and bodies in tiny pieces."""

    def __init__(self, limits: ConnectionLimits) -> None:
        super().__init__(h11.SERVER, limits.head_bytes)
        self._limits = limits
        self._pieces = 0

    def receive_data(self, data: bytes) -> None:
        """See h11."""
        self._pieces = 0
        super().receive_data(data)

    def next_event(self) -> Any:
        """See h11."""
        if self.their_state is h11.IDLE:
            self._check_head(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._pieces += 1
            if self._pieces > self._limits.body_pieces:
                raise h11.RemoteProtocolError("too many chunks")
        return event

    def _check_head(self, waiting: bytes) -> None:
        most = self._limits.head_bytes
        end = _BLANK_LINE.search(waiting, 0, most + 1)
        lines = waiting.count(b"\n", 0, most if end is None else end.start())
        if lines >= self._limits.head_lines or (end is None and len(waiting) > most):
            raise h11.RemoteProtocolError("the header is too large", error_status_hint=431)


class BoundedConnection(H11Protocol):
    """One connection of a server, within `limits`."""

    limits = ConnectionLimits()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.conn = _Bounded(self.limits)
        self._since = self.loop.time()
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._over = False
        """The answer is there, and whatever else comes is thrown away."""

    # -- what asyncio calls --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        others = [each for each in self.connections if not each.transport.is_closing()]
        super().connection_made(transport)
        self._wait(self.limits.head_seconds)
        if len(others) >= min(self.limits.connections, _open_files() // 2):
            waiting = [each for each in others if isinstance(each, BoundedConnection) and each.awaits_head]
            if waiting:
                min(waiting, key=lambda each: each._since).transport.abort()
            else:
                self._refuse(503)
                self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._wait(None)
        self.resume_writing()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._over or self.transport.is_closing():
            return
        kept_alive = self.timeout_keep_alive_task is not None
        super().data_received(data)
        if kept_alive and self.awaits_head:
            self._since = self.loop.time()
            self._wait(self.limits.head_seconds)

    def pause_writing(self) -> None:
        """See asyncio."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.limits.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio."""
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    # -- what uvicorn calls --------------------------------------------------------------------------------------------

    def handle_events(self) -> None:
        """See uvicorn."""
        was = self.conn.their_state
        super().handle_events()
        if self._over or self.transport.is_closing() or self not in self.connections:  # it is closed, or a websocket's
            return
        if self.conn.their_state is h11.SEND_BODY:
            if was is not h11.SEND_BODY:
                self._wait(self.limits.body_seconds)
        elif self.conn.their_state is not h11.IDLE:
            self._wait(None)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """See uvicorn. The connection goes on under another protocol, which has limits of its own."""
        self._wait(None)
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """See uvicorn."""
        more_comes = self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if self.transport.is_closing():
            self._end()
        elif more_comes:
            self._hang_up()

    def timeout_keep_alive_handler(self) -> None:
        """See uvicorn."""
        super().timeout_keep_alive_handler()
        self._end()

    def send_400_response(self, msg: str) -> None:
        """See uvicorn."""
        if getattr(sys.exception(), "error_status_hint", 400) == 431:
            self._refuse(431)
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        self._end()

    # -- time ----------------------------------------------------------------------------------------------------------

    @property
    def awaits_head(self) -> bool:
        """Whether no request is being read or answered."""
        return self.conn.our_state is h11.IDLE

    def _wait(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if seconds is not None:
            self._deadline = self.loop.call_later(seconds, self._late)

    def _late(self) -> None:
        begun = not self._over and self.awaits_head and self.conn.trailing_data[0]
        if begun:
            self._refuse(408)
        else:
            self.transport.abort()

    def _refuse(self, status: int) -> None:
        """Answer without any application, and hang up."""
        reason, sentence = _REASONS[status]
        head = b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (status, reason, len(sentence)) + sentence)
        self._hang_up()

    def _hang_up(self) -> None:
        """Close when the client has. It may not look at the answer before it has sent all, and would lose it if it were
        cut off."""
        self._over = True
        self._unset_keepalive_if_required()
        self.transport.write_eof()
        self._wait(self.limits.rest_seconds)

    def _end(self) -> None:
        """Close; at once where what is to be sent is not taken."""
        self.transport.close()
        self._over = True
        self._wait(self.limits.rest_seconds)
