"""Reading a request's body: only JSON that means the same to everybody gets further than this."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from modular_pluralism.serving.api_error import ApiError

_DEEPEST = 64
PATIENCE = 60.0
"""Seconds for a body to arrive, so that nobody holds a connection for nothing."""


def checked_route(most: int) -> type[APIRoute]:
    """A class of routes whose endpoints get no body but what `read_json` has read, however a path is spelled."""

    class CheckedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            if self.body_field is None:
                return handle

            async def checked(request: Request) -> Response:
                body = await read_json(request, most)
                return await handle(Request(request.scope, _given(body, request.receive)))

            return checked

    return CheckedRoute


def _given(body: bytes, receive: Receive) -> Receive:
    """`receive`, whose body has been read."""
    messages = iter([{"type": "http.request", "body": body}])

    async def given() -> Message:
        return next(messages, None) or await receive()

    return given


async def read_json(request: Request, most: int) -> bytes:
    """The request's body.

    Raises:
        ApiError: 415, it is not declared as JSON; 413, it has more than `most` bytes; 408, it does not come; 400, it is
            not an object of plain JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "The body must be JSON; send it with the header 'Content-Type: application/json'.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "The body must not be compressed; send it without Content-Encoding.")
    too_large = ApiError(413, f"The body is larger than {most} bytes; send less.", code="body_too_large")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > most):
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.stream():
                data += part
                if len(data) > most:
                    raise too_large
    except TimeoutError:
        raise ApiError(408, f"The body did not arrive within {PATIENCE:g} seconds.", code="slow_body") from None
    except ClientDisconnect:
        raise ApiError(400, "The connection was closed before the whole body was there.", code="client_gone") from None
    parse_object(bytes(data))
    return bytes(data)


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`.

    Raises:
        ApiError: 400, it is not JSON, nests too deeply, or holds what no model can read: numbers beyond all bounds,
            null characters, halves of surrogate pairs, a field twice.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_each_once)
    except UnicodeDecodeError:
        raise ApiError(400, "The body is not UTF-8; send JSON in UTF-8.") from None
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise ApiError(400, f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    except ValueError:  # a whole number with more digits than Python reads
        raise ApiError(400, "A number in the body has too many digits.") from None
    if not isinstance(value, dict):
        raise ApiError(400, "The body must be a JSON object.")
    _check(value)
    return value


def _each_once(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(fields)
    if len(unique) < len(fields):
        raise ApiError(400, "A field of the body stands there twice; send it once.")
    return unique


def _refuse_constant(name: str) -> None:
    raise ApiError(400, f"{name} is not JSON; send finite numbers.")


def _too_deep() -> ApiError:
    return ApiError(400, f"The body nests more than {_DEEPEST} levels deep; send flatter JSON.")


def _check(root: Any) -> None:
    # A loop and not a recursion, whose depth the client would choose.
    left: list[tuple[Any, int]] = [(root, 1)]
    while left:
        value, depth = left.pop()
        if depth > _DEEPEST:
            raise _too_deep()
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ApiError(400, "A number in the body is too large.")
        elif isinstance(value, dict):
            for key in value:
                _check_text(key)
            left += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            left += [(inner, depth + 1) for inner in value]


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ApiError(400, "A text in the body holds a null character, which no model reads; take it out.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ApiError(400, "A text in the body holds half of a surrogate pair; send whole characters.") from None
