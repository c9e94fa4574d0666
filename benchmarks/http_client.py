"""As little of HTTP as servers on this machine need: a full client would take time from the server it measures."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from benchmarks.errors import BenchmarkError


async def request(port: int, path: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON that a server on this machine replies; a GET without a body, else a POST.

    Raises:
        OSError: nobody listens.
        BenchmarkError: the status is not 200, or the connection broke off.
    """
    data = b"" if body is None else json.dumps(body).encode()
    # HTTP 1.0, so that the reply comes in one piece and ends with the connection.
    head = (
        f"{'GET' if body is None else 'POST'} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + data)
        await writer.drain()
        reply = await reader.read()
    finally:
        writer.close()
    top, _, payload = reply.partition(b"\r\n\r\n")
    status = top.split(maxsplit=2)[1:2]
    if status != [b"200"]:
        said = payload[:300].decode("utf-8", "replace")
        raise BenchmarkError(f"{path} replied {b' '.join(status).decode() or 'nothing'}: {said}")
    return json.loads(payload)
