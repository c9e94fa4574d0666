"""An OpenAI-compatible endpoint on this machine, which behaves as each model's script says."""

from __future__ import annotations

import itertools
import json
import math
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, NamedTuple

MOST_POURED = 256 * 2**20
"""Bytes after which even an endless reply ends, so that a test fails that should have closed it."""

Behaviour = Literal[
    "ok",  # a reply, streamed where that is wanted; without log-probabilities even if they are wanted
    "logprobs",  # the same with log-probabilities: A 0.5, " A" 0.1, B 0.2
    "refuses_logprobs",  # 400 for a request that wants log-probabilities, else ok
    "slow_down",  # 429, with Retry-After: 0
    "broken",  # 500
    "bad_request",
    "unauthorized",  # 401, with the key that was sent in the message
    "not_found",
    "hang",  # reads the request and says nothing until the endpoint closes
    "cut",  # half of a reply, and then the connection breaks
    "ends_early",  # half of a stream, then an orderly end, but no finish_reason
    "garbage",  # a web page
    "garbage_json",  # JSON's content type, but none inside
    "deep_json",  # a hundred thousand lists in one another
    "no_choices",
    "empty",  # an empty text
    "busy",  # 429, with Retry-After: 30
    "broken_chunks",  # half of a reply in chunked encoding, and then the connection closes
    "stalls",  # half of a stream (or nothing), then silence until the endpoint closes
    "stream_error",  # an error in the middle of a stream; without a stream 500
    "odd_error",  # 500, with terminal commands and the key that was sent in the message
    "null",  # content: null
    "blocks",  # the text as a list of blocks
    "echo",  # the header with the key as text, reasoning, a tool's arguments and finish_reason; streamed in pieces
    "number",  # content: 42
    "half_character",  # a text that ends with a lone surrogate
    "tool_call",  # a call of a tool, and no text
    "refusal",  # OpenAI's refusal, and no text
    "json",  # {"verdict": "yes"}
    "refuses_schema",  # 400 for a request with a response_format, else as json
    "endless",  # a text of a million characters, whatever max_tokens says
    "endless_body",  # one line of JSON, or of a stream, that ends when the client closes
    "endless_events",  # events without a text, until the client closes
    "unfolding",  # as endless_body, in some hundred KB of gzip
]


class Request(NamedTuple):
    """What was sent."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class FakeEndpoint:
    """Behaviours by the model's id; of a list, one after another, the last one for ever. "*" stands for all others."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.scripts: dict[str, list[Behaviour]] = {}
        self.sent = 0
        """Bytes of endless replies that a client has taken."""
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._server = _Server(self)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def behave(self, model: str, *behaviours: Behaviour) -> None:
        self.scripts[model] = list(behaviours)

    def asked(self, model: str) -> list[Request]:
        return [each for each in self.requests if each.body["model"] == model]

    def next_behaviour(self, request: Request) -> Behaviour:
        with self._lock:
            self.requests.append(request)
            script = self.scripts.get(request.body["model"]) or self.scripts.get("*", ["ok"])
            return script.pop(0) if len(script) > 1 else script[0]

    @contextmanager
    def running(self) -> Iterator[FakeEndpoint]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, endpoint: FakeEndpoint) -> None:
        self.endpoint = endpoint
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = Request(self.path, {key.lower(): value for key, value in self.headers.items()}, body)
        behaviour = self.server.endpoint.next_behaviour(request)
        match behaviour:
            case "slow_down":
                self._error(429, "slow down", {"Retry-After": "0"})
            case "broken":
                self._error(500, "our mistake")
            case "bad_request":
                self._error(400, "a message is too odd")
            case "unauthorized":
                self._error(401, f"Incorrect API key provided: {request.headers.get('authorization')}")
            case "not_found":
                self._error(404, "no such model")
            case "refuses_logprobs" if "logprobs" in body:
                self._error(400, "logprobs are not supported by this model")
            case "hang":
                self.server.endpoint.closing.wait(30)
                self.close_connection = True
            case "garbage":
                self._send(200, "text/html", b"<html>It works!</html>")
            case "garbage_json":
                self._send(200, "application/json", b"{not json")
            case "deep_json":
                deep = b"[" * 100_000 + b"]" * 100_000
                kind = "text/event-stream" if body.get("stream") else "application/json"
                self._send(200, kind, b"data: " + deep + b"\n\n" if body.get("stream") else deep)
            case "no_choices":
                self._send(200, "application/json", json.dumps({**_frame(body), "choices": []}).encode())
            case "busy":
                self._error(429, "busy", {"Retry-After": "30"})
            case "odd_error":
                self._error(500, f"\x1b[2J\u202eour mistake\x07 {request.headers.get('authorization')} \x00\ud800.")
            case "stream_error" if not body.get("stream"):
                self._error(500, "our mistake")
            case "stream_error":
                self._send(200, "text/event-stream", (_event(_half(body)) + 'data: {"error": "oh"}\n\n').encode())
            case "broken_chunks":
                self._break_chunks(body)
            case "stalls":
                self._stall(body)
            case "null":
                self._answer(body, {"content": None})
            case "echo":
                self._echo(body, str(request.headers.get("authorization")))
            case "number":
                self._answer(body, {"content": 42})
            case "half_character":
                self._answer(body, {"content": _text(body) + " \ud83d"})
            case "refuses_schema" if "response_format" in body:
                self._error(400, "response_format of type json_schema is not supported")
            case "json" | "refuses_schema":
                self._reply(body, logprobs=False, text='{"verdict": "yes"}')
            case "endless":
                self._answer(body, {"content": "word " * 200_000})
            case "endless_body" | "endless_events" | "unfolding":
                self._pour(body, behaviour)
            case "blocks":
                self._answer(body, {"content": [{"type": "text", "text": _text(body)}]})
            case "refusal":
                self._answer(body, {"content": None, "refusal": "I will not do that."})
            case "tool_call":
                function = {"name": "search", "arguments": "{}"}
                calls = [{"index": 0, "id": "call-1", "type": "function", "function": function}]
                self._answer(body, {"content": None, "tool_calls": calls})
            case "cut" | "ends_early":
                self._cut(body, orderly=behaviour == "ends_early")
            case _ if self.path.endswith("/embeddings"):
                self._vectors(body)
            case _:
                self._reply(body, logprobs=behaviour == "logprobs", text="" if behaviour == "empty" else _text(body))

    def _vectors(self, body: dict[str, Any]) -> None:
        """A vector for each text: its length, and nothing else, in as many dimensions as are wanted."""
        if body.get("dimensions", 0) > 8:
            self._error(400, "dimensions must be at most 8")
            return
        rest = [0.0] * (body.get("dimensions", 3) - 1)
        rows = [{"index": place, "embedding": [len(text), *rest]} for place, text in enumerate(body["input"])]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        reply = {"object": "list", "model": body["model"], "data": rows, "usage": usage}
        self._send(200, "application/json", json.dumps(reply).encode())

    def _reply(self, body: dict[str, Any], *, logprobs: bool, text: str) -> None:
        info = _logprobs() if logprobs and body.get("logprobs") else None
        finish = "length" if body.get("logprobs") else "stop"
        usage = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": info}
            self._send(
                200, "application/json", json.dumps({**_frame(body), "choices": [choice], "usage": usage}).encode()
            )
            return
        chunks = [_chunk(body, {"role": "assistant", "content": ""}, None, info)]
        chunks += [_chunk(body, {"content": word + " "}, None, None) for word in text.split()]
        chunks.append(_chunk(body, {}, finish, None))
        chunks.append({**_chunk(body, {}, None, None), "choices": [], "usage": usage})
        events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
        self._send(200, "text/event-stream", events.encode())

    def _answer(self, body: dict[str, Any], said: dict[str, Any]) -> None:
        """A whole reply that consists of `said`, in one chunk where it is streamed."""
        message = {"role": "assistant", **said}
        if body.get("stream"):
            events = _event(_chunk(body, message, None, None)) + _event(_chunk(body, {}, "stop", None))
            self._send(200, "text/event-stream", f"{events}data: [DONE]\n\n".encode())
        else:
            choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
            self._send(200, "application/json", json.dumps({**_frame(body), "choices": [choice]}).encode())

    def _echo(self, body: dict[str, Any], header: str) -> None:
        text, arguments = f"You sent {header} as", json.dumps({"sent": header})
        if "prompt" in body:  # a raw completion
            pieces = [{"index": 0, "text": part, "finish_reason": None} for part in _parts(text)]
            pieces.append({"index": 0, "text": "", "finish_reason": "stop"})
            events = "".join(
                _event({**_frame(body), "object": "text_completion", "choices": [each]}) for each in pieces
            )
            self._send(200, "text/event-stream", f"{events}data: [DONE]\n\n".encode())
            return
        function = {"name": "search", "arguments": arguments}
        calls = [{"index": 0, "id": "call-1", "type": "function", "function": function}] if body.get("tools") else None
        said = {"role": "assistant", "content": text, "reasoning_content": f"Hm, {header}", "tool_calls": calls}
        if not body.get("stream"):
            choice = {"index": 0, "message": said, "finish_reason": header, "logprobs": None}
            self._send(200, "application/json", json.dumps({**_frame(body), "choices": [choice]}).encode())
            return
        deltas: list[dict[str, Any]] = [{"reasoning_content": part} for part in _parts(f"Hm, {header}")]
        deltas += [{"content": part} for part in _parts(text)]
        if calls:
            deltas.append({"tool_calls": [{**calls[0], "function": {**function, "arguments": ""}}]})
            deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in _parts(arguments)]
        events = "".join(_event(_chunk(body, delta, None, None)) for delta in deltas)
        events += _event(_chunk(body, {}, header, None))
        self._send(200, "text/event-stream", f"{events}data: [DONE]\n\n".encode())

    def _break_chunks(self, body: dict[str, Any]) -> None:
        self.close_connection = True
        data = _event(_half(body)).encode() if body.get("stream") else b'{"id": "1", "choi'
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if body.get("stream") else "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n40\r\nhalf of a chunk")

    def _stall(self, body: dict[str, Any]) -> None:
        self.close_connection = True
        if body.get("stream"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(_event(_half(body)).encode())
        self.server.endpoint.closing.wait(30)

    def _pour(self, body: dict[str, Any], behaviour: Behaviour) -> None:
        self.close_connection = True
        first, more = (b"data: ", b" ") if body.get("stream") else (b'{"id": "', b"x")
        if behaviour == "endless_events":
            first, more = b"", _event(_chunk(body, {}, None, None)).encode()
        more *= 2**20 // len(more)
        pieces = itertools.chain([first], itertools.repeat(more, MOST_POURED // len(more)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream" if body.get("stream") else "application/json")
        if behaviour == "unfolding":
            self.send_header("Content-Encoding", "gzip")
            zipped = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
            pieces = itertools.chain(map(zipped.compress, pieces), (zipped.flush() for _ in range(1)))
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
            self.server.endpoint.sent += len(piece)

    def _cut(self, body: dict[str, Any], *, orderly: bool) -> None:
        self.close_connection = True
        if body.get("stream"):
            kind, data = "text/event-stream", f"data: {json.dumps(_chunk(body, {'content': 'Half a'}, None, None))}\n\n"
        else:
            kind, data = "application/json", '{"id": "1", "choi'
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        if not orderly:
            self.send_header("Content-Length", str(len(data) + 100))
        self.end_headers()
        self.wfile.write(data.encode())

    def _error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        data = {"error": {"message": message, "type": "test", "code": None}}
        self._send(status, "application/json", json.dumps(data).encode(), headers)

    def _send(self, status: int, kind: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(data)


def _text(body: dict[str, Any]) -> str:
    return f"The view of {body['model']}."


def _parts(text: str) -> list[str]:
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def _frame(body: dict[str, Any]) -> dict[str, Any]:
    return {"id": "chat-1", "object": "chat.completion", "created": 1, "model": body["model"]}


def _chunk(body: dict[str, Any], delta: dict[str, Any], finish: str | None, logprobs: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": logprobs}
    return {**_frame(body), "object": "chat.completion.chunk", "choices": [choice]}


def _half(body: dict[str, Any]) -> dict[str, Any]:
    return _chunk(body, {"role": "assistant", "content": "Half a"}, None, None)


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _logprobs() -> dict[str, Any]:
    top = [
        {"token": token, "bytes": None, "logprob": math.log(value)}
        for token, value in {"A": 0.5, "B": 0.2, " A": 0.1, "1": 0.05, "2": 0.1}.items()
    ]
    return {"content": [{**top[0], "top_logprobs": top}]}
