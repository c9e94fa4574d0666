"""What every request passes first: its id, its key, what it failed of, and at the end the log and the metrics."""

from __future__ import annotations

import re
import secrets
from collections.abc import Set as AbstractSet

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modular_pluralism.local_names import is_loopback, name_of
from modular_pluralism.serving.api_error import ApiError, api_error
from modular_pluralism.serving.keys import Keys
from modular_pluralism.serving.metrics import Metrics
from modular_pluralism.serving.request_log import Exchange, RequestLog

_OPEN_TO_ALL = "/health"
_LONGEST_PATH = 200
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class RequestMiddleware:
    """An ASGI application around another, whose errors it answers. `paths` are those that the metrics tell apart."""

    def __init__(self, app: ASGIApp, keys: Keys, log: RequestLog, metrics: Metrics, paths: AbstractSet[str]) -> None:
        self._app = app
        self._keys = keys
        self._log = log
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        exchange = Exchange(request_id(headers.get("x-request-id")), scope["method"], scope["path"][:_LONGEST_PATH])
        scope.setdefault("state", {})["exchange"] = exchange
        if exchange.method == "HEAD":  # whatever can be got has headers
            scope = {**scope, "method": "GET"}

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                added = MutableHeaders(raw=list(message.get("headers", [])))
                added["x-request-id"] = exchange.id
                added["x-content-type-options"] = "nosniff"
                message = {**message, "headers": added.raw}
            elif exchange.method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        try:
            self._admit(exchange, headers)
            if not scope["path"].isprintable():
                # To Starlette, a path and the same one with a line end behind it are one path.
                raise ApiError(404, "There is nothing at a path with unprintable characters; see /openapi.json.")
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            answer = api_error(error)
            exchange.error = answer.code or answer.kind
            if answer.status == 500:
                self._log.mistake(exchange, error)
            if exchange.status == 0:
                await JSONResponse(answer.body(), answer.status, answer.headers())(scope, receive, send_with_id)
        finally:
            if exchange.path != _OPEN_TO_ALL:
                self._log.done(exchange)
            self._metrics.done(exchange, exchange.path if exchange.path in self._paths else "other")

    def _admit(self, exchange: Exchange, headers: Headers) -> None:
        if exchange.path == _OPEN_TO_ALL:
            return
        if not self._keys and not is_loopback(name_of(headers.get("host", "localhost"))):
            # A web page can make its own name mean this machine, and would then speak to a server without keys.
            raise ApiError(
                403,
                "This server has no keys and answers to local names only; ask for localhost, or start it with --keys.",
                code="foreign_host",
            )
        exchange.key = self._keys.number(headers.get("authorization"))


def request_id(given: str | None) -> str:
    """The client's own id where it is harmless in a log, else a new one."""
    return given if given and _SANE_ID.fullmatch(given) else f"req-{secrets.token_hex(12)}"
