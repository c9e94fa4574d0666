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

from modular_pluralism.serving.api_error import ApiError, invalid_field

_DEEPEST = 64
MOST_ENTRIES = 16_384
"""Fields, and entries of lists that are no whole numbers, in a body: each takes time when it is checked."""
PATIENCE = 60.0
"""Seconds for a body to arrive, so that nobody holds a connection for nothing."""


def checked_route(most: int) -> type[APIRoute]:
    """A class of routes whose endpoints get no body but what `read_json` has read, however a path is spelled."""

    class CheckedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            if self.body_field is None:
                return handle

            field = self.body_field

            def read(data: bytes) -> tuple[dict[str, Any], Any]:
                sent = parse_object(data)
                value, errors = field.validate(sent, loc=("body",))
                if errors:
                    raise invalid_field(errors)
                return sent, value

            async def checked(request: Request) -> Response:
                data = await read_body(request, most)
                request.state.sent, value = await asyncio.to_thread(read, data)
                return await handle(_ReadRequest(request, data, value))

            return checked

    return CheckedRoute


class _ReadRequest(Request):
    """A request whose body has been read: to FastAPI, `value` is what stands in it."""

    def __init__(self, request: Request, data: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._data, self._value = data, value

    async def body(self) -> bytes:
        """See Request."""
        return self._data

    async def json(self) -> Any:
        """See Request."""
        return self._value


async def read_body(request: Request, most: int) -> bytes:
    """The request's body.

    Raises:
        ApiError: 415, it is not declared as JSON; 413, it has more than `most` bytes; 408, it does not come.
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
    return bytes(data)


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`.

    Raises:
        ApiError: 400, it is not JSON, nests too deeply, has too many parts, or holds what no model can read: numbers
            beyond all bounds, null characters, halves of surrogate pairs, a field twice.
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
    entries = 0
    while left:
        value, depth = left.pop()
        if depth > _DEEPEST:
            raise _too_deep()
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ApiError(400, "A number in the body is too large.")
        inside: list[Any] = []
        if isinstance(value, dict):
            for key in value:
                _check_text(key)
            inside = list(value.values())
        elif isinstance(value, list):
            inside = [inner for inner in value if type(inner) is not int]  # rows of tokens are long
        left += [(inner, depth + 1) for inner in inside]
        entries += len(inside)
        if entries > MOST_ENTRIES:
            raise ApiError(
                400,
                f"The body has more than {MOST_ENTRIES} fields, and entries that are no whole numbers; send less.",
                code="body_too_large",
            )


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ApiError(400, "A text in the body holds a null character, which no model reads; take it out.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ApiError(400, "A text in the body holds half of a surrogate pair; send whole characters.") from None
