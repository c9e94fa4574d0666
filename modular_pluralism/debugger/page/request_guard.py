"""What every request to the page passes first: it has to be meant for this machine, and to come from this page."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modular_pluralism.local_names import is_loopback, name_of

_FOREIGN = "This page answers to local names only; open http://localhost with the port that the terminal shows.\n"
_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Vue compiles its templates in the browser.
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


class RequestGuard:
    """An ASGI application around the page's. `others` are let in where the user has asked for it: the page is then
    reached by any name, but a page of another site still cannot speak to it."""

    def __init__(self, app: ASGIApp, *, others: bool) -> None:
        self.app = app
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif not self._admitted(Headers(scope=scope)):
            await _refuse(scope, receive, send)
        else:
            await self.app(scope, receive, _guarded(send))

    def _admitted(self, headers: Headers) -> bool:
        host = headers.get("host", "")
        # A web page can make its own name mean this machine, and would then read what is shown here.
        if not self._others and not is_loopback(name_of(host)):
            return False
        # Browsers let any page open a websocket to any address; only the origin tells whose page it is.
        origin = headers.get("origin")
        return origin is None or urlsplit(origin).netloc.lower() == host.lower()


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
    else:
        await PlainTextResponse(_FOREIGN, 403)(scope, receive, send)


def _guarded(send: Send) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            headers["content-security-policy"] = _POLICY
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "no-referrer"
            message = {**message, "headers": headers.raw}
        await send(message)

    return tell
