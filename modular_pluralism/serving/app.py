"""The web application: which paths there are, and what stands behind each."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

import modular_pluralism
from modular_pluralism.errors import PluralismError
from modular_pluralism.serving.api_error import ApiError, api_error
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.chat_endpoint import chat_chunks, whole_chat
from modular_pluralism.serving.chat_request import ChatRequest, check_chat
from modular_pluralism.serving.completion_endpoint import completion_chunks, whole_completion
from modular_pluralism.serving.completion_request import CompletionRequest, within
from modular_pluralism.serving.exchange import Exchange
from modular_pluralism.serving.fields import read
from modular_pluralism.serving.front import Front
from modular_pluralism.serving.gate import Gate
from modular_pluralism.serving.json_body import json_body
from modular_pluralism.serving.keys import Keys
from modular_pluralism.serving.limits import Limits
from modular_pluralism.serving.metrics import Metrics
from modular_pluralism.serving.openapi import describe_api
from modular_pluralism.serving.reply import Reply
from modular_pluralism.serving.request_log import RequestLog
from modular_pluralism.serving.tokenizer_endpoint import (
    DetokenizeRequest,
    TokenizeRequest,
    detokenize,
    tokenize,
    tokenizer_info,
)


def make_app(catalogue: Catalogue, *, keys: Keys, limits: Limits, gate: Gate, log: RequestLog) -> ASGIApp:
    """The ASGI application over a catalogue whose models are loaded."""
    metrics = Metrics(gate, catalogue.load())
    # FastAPI's pages of documentation fetch scripts from elsewhere, which an offline machine cannot.
    app = FastAPI(
        title="modular-pluralism",
        version=modular_pluralism.__version__,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    _answer_errors(app)
    _add_chats(app, catalogue, limits, gate, log)
    _add_completions(app, catalogue, limits, gate, log)
    _add_tokenizer(app, catalogue, limits)
    _add_models(app, catalogue)
    _add_health(app, gate, metrics)
    describe_api(app, catalogue, limits)
    paths = {str(getattr(route, "path", "")) for route in app.routes}
    return Front(app, keys, log, metrics, paths)


def _add_chats(app: FastAPI, catalogue: Catalogue, limits: Limits, gate: Gate, log: RequestLog) -> None:
    @app.post("/v1/chat/completions")
    async def chat_completions(request: Request) -> Response:
        """Answer a chat: by a community, by the base LLM, or by a run of a mode."""
        body = await json_body(request, limits.body)
        wanted = read(ChatRequest, body)
        talker = catalogue.talker(wanted.model)
        exchange = _noted(request, wanted, log, body.get("messages"))
        check_chat(wanted, limits)
        if wanted.stream:
            return Reply(exchange, gate, log, None, lambda: chat_chunks(talker, wanted, exchange))
        return Reply(exchange, gate, log, lambda: whole_chat(talker, wanted, exchange), None)


def _add_completions(app: FastAPI, catalogue: Catalogue, limits: Limits, gate: Gate, log: RequestLog) -> None:
    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        """Complete raw text, or score it."""
        body = await json_body(request, limits.body)
        wanted = within(limits, read(CompletionRequest, body))
        model = catalogue.model(wanted.model)
        exchange = _noted(request, wanted, log, body.get("prompt"))
        caller = catalogue.caller
        if wanted.stream:
            return Reply(exchange, gate, log, None, lambda: completion_chunks(model, wanted, caller, exchange))
        return Reply(exchange, gate, log, lambda: whole_completion(model, wanted, caller, exchange), None)


def _add_tokenizer(app: FastAPI, catalogue: Catalogue, limits: Limits) -> None:
    @app.get("/tokenizer_info")
    async def info() -> Response:
        """The base LLM's begin and end tokens and its chat template."""
        return JSONResponse(tokenizer_info(catalogue))

    @app.post("/tokenize")
    async def to_tokens(request: Request) -> Response:
        """Cut a text into tokens."""
        return JSONResponse(tokenize(catalogue, read(TokenizeRequest, await json_body(request, limits.body))))

    @app.post("/detokenize")
    async def to_text(request: Request) -> Response:
        """Put tokens together."""
        return JSONResponse(detokenize(catalogue, read(DetokenizeRequest, await json_body(request, limits.body))))


def _add_models(app: FastAPI, catalogue: Catalogue) -> None:
    started = int(time.time())

    @app.get("/v1/models")
    async def models() -> Response:
        """List what a request's `model` may be."""
        return JSONResponse({"object": "list", "data": [catalogue.listed(each, started) for each in catalogue.ids]})

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> Response:
        """One of them."""
        catalogue.check(model)
        return JSONResponse(catalogue.listed(model, started))


def _add_health(app: FastAPI, gate: Gate, metrics: Metrics) -> None:
    @app.get("/health")
    async def health() -> Response:
        """200 while requests are answered, 503 when the server is stopping."""
        return JSONResponse({"status": "stopping"}, 503) if gate.closed else JSONResponse({"status": "ok"})

    @app.get("/metrics")
    async def measured() -> Response:
        """The metrics in Prometheus' text format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _answer_errors(app: FastAPI) -> None:
    async def told(request: Request, error: Exception) -> Response:
        answer = api_error(error)
        exchange: Exchange = request.state.exchange
        exchange.error = answer.code or answer.kind
        return JSONResponse(answer.body(), answer.status, answer.headers())

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = {
            404: f"There is nothing at {request.method} {request.url.path[:100]}; see /openapi.json.",
            405: f"{request.method} is not for {request.url.path[:100]}; see /openapi.json.",
        }
        answer = ApiError(error.status_code, said.get(error.status_code, str(error.detail)))
        return JSONResponse(answer.body(), answer.status, {**answer.headers(), **(error.headers or {})})

    handlers: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
        ApiError: told,
        PluralismError: told,
        HTTPException: of_http,
        Exception: told,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _noted(request: Request, wanted: ChatRequest | CompletionRequest, log: RequestLog, prompt: Any) -> Exchange:
    """The request's exchange, with what the log shall know of it."""
    exchange: Exchange = request.state.exchange
    exchange.model = wanted.model
    exchange.streamed = bool(wanted.stream)
    if log.prompts:
        exchange.prompt = prompt
    if wanted.stream_options is not None and not wanted.stream:
        raise ApiError(
            400, "stream_options is only for streams; leave it out or add stream: true.", param="stream_options"
        )
    return exchange
