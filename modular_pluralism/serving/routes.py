"""The server's paths, and what stands behind each."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from modular_pluralism.llama import ChatLlama
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.embedded_completion import embedded_events
from modular_pluralism.serving.embeddings import embedding_parts
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.metrics import Metrics
from modular_pluralism.serving.remote_completion import remote_parts
from modular_pluralism.serving.request_log import Exchange, RequestLog
from modular_pluralism.serving.responses import response_parts
from modular_pluralism.serving.responses_form import response_events
from modular_pluralism.serving.responses_request import ResponsesRequest
from modular_pluralism.serving.schemas import (
    USUAL_COMPLETION_TOKENS,
    ChatRequest,
    CompletionRequest,
    EmbeddingsRequest,
    TextRequest,
)
from modular_pluralism.serving.sending import AnswerResponse, NamedEventsResponse

_WHOLE_OR_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "The answer; with `stream`, its chunks as events.", "content": {"text/event-stream": {}}}
}


def add_texts(app: FastAPI, catalogue: Catalogue, limits: Limits, gate: Gate, log: RequestLog) -> None:
    """Chats and raw completions."""

    @app.post("/v1/chat/completions", responses=_WHOLE_OR_STREAM)
    async def chat_completions(request: Request, wanted: ChatRequest) -> Response:
        """Answer a chat: by a community, by the base LLM, or by a run of a mode."""
        exchange = _noted(request, wanted, "messages", log)
        talker = catalogue.talker(wanted.model)
        limits.check(wanted)
        return AnswerResponse(exchange, gate, response_parts(talker.events(wanted), wanted, exchange))

    @app.post("/v1/responses", responses=_WHOLE_OR_STREAM)
    async def responses(request: Request, wanted: ResponsesRequest) -> Response:
        """Answer a chat in the form of OpenAI's newer API; nothing is kept."""
        exchange = _noted(request, wanted, "input", log)
        talker = catalogue.talker(wanted.model)
        limits.check(wanted)
        return NamedEventsResponse(exchange, gate, response_events(talker.events(wanted.chat()), wanted, exchange))

    @app.post("/v1/completions", responses=_WHOLE_OR_STREAM)
    async def completions(request: Request, wanted: CompletionRequest) -> Response:
        """Complete raw text, or score it."""
        exchange = _noted(request, wanted, "prompt", log)
        model = catalogue.model(wanted.model)
        limits.check(wanted)
        if wanted.max_tokens is None:
            wanted = wanted.model_copy(update={"max_tokens": min(USUAL_COMPLETION_TOKENS, limits.tokens)})
        if not isinstance(model.chat, ChatLlama):
            return AnswerResponse(exchange, gate, remote_parts(model, wanted, catalogue.caller, exchange))
        return AnswerResponse(exchange, gate, response_parts(embedded_events(model.chat, wanted), wanted, exchange))


def add_embeddings(app: FastAPI, catalogue: Catalogue, limits: Limits, gate: Gate, log: RequestLog) -> None:
    """Vectors of texts."""

    @app.post("/v1/embeddings")
    async def embeddings(request: Request, wanted: EmbeddingsRequest) -> Response:
        """The vectors of texts, by the base LLM or a model of the pool."""
        exchange = _noted(request, wanted, "input", log)
        catalogue.embedding_model(wanted.model)
        limits.check(wanted)
        return AnswerResponse(exchange, gate, embedding_parts(catalogue, wanted, exchange))


def add_models(app: FastAPI, catalogue: Catalogue) -> None:
    """The models that there are."""
    started = int(time.time())

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """List what a request's `model` may be."""
        return {"object": "list", "data": [catalogue.listed(model, started) for model in catalogue.ids]}

    @app.get("/v1/models/{model:path}")
    async def model(model: str) -> dict[str, Any]:
        """One of them."""
        catalogue.check(model)
        return catalogue.listed(model, started)


def add_health(app: FastAPI, gate: Gate, metrics: Metrics) -> None:
    """How the server is."""

    @app.get("/health", responses={503: {"description": "It is stopping."}})
    async def health() -> Response:
        """200 while requests are answered, 503 when the server is stopping."""
        return JSONResponse({"status": "stopping"}, 503) if gate.closed else JSONResponse({"status": "ok"})

    @app.get("/metrics", response_class=PlainTextResponse)
    async def measured() -> Response:
        """The metrics in Prometheus' text format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _noted(
    request: Request, wanted: TextRequest | ResponsesRequest | EmbeddingsRequest, asked: str, log: RequestLog
) -> Exchange:
    """The request's exchange, with what the log shall know of it; its field `asked` only where that is wanted."""
    exchange: Exchange = request.state.exchange
    exchange.model = wanted.model
    exchange.streamed = bool(getattr(wanted, "stream", None))
    if log.prompts:
        exchange.prompt = request.state.sent[asked]
    return exchange
