"""The web application: its routes, its errors, and its description of itself."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

import modular_pluralism
from modular_pluralism.serving.api_error import ApiError, ErrorBody, invalid_field
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.json_body import checked_route
from modular_pluralism.serving.keys import Keys
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.metrics import Metrics
from modular_pluralism.serving.middleware import RequestMiddleware
from modular_pluralism.serving.request_log import RequestLog
from modular_pluralism.serving.routes import add_embeddings, add_health, add_models, add_texts
from modular_pluralism.serving.tokenizer import add_tokenizer


def make_app(catalogue: Catalogue, *, keys: Keys, limits: Limits, gate: Gate, log: RequestLog) -> FastAPI:
    """The ASGI application over a catalogue whose models are loaded."""
    metrics = Metrics(gate, catalogue.load(), {*catalogue.ids, *catalogue.embedding})
    # FastAPI's pages of documentation fetch scripts from elsewhere, which an offline machine cannot.
    app = FastAPI(
        title="modular-pluralism",
        version=modular_pluralism.__version__,
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        responses={"default": {"model": ErrorBody, "description": "What is wrong."}},
        exception_handlers={HTTPException: _no_such_path, RequestValidationError: _no_such_body},
    )
    app.router.route_class = checked_route(limits.body)
    add_texts(app, catalogue, limits, gate, log)
    add_embeddings(app, catalogue, limits, gate, log)
    add_tokenizer(app, catalogue, gate)
    add_models(app, catalogue)
    add_health(app, gate, metrics)
    _tell_limits(app.openapi(), catalogue, limits)
    paths = {str(getattr(route, "path", "")) for route in app.routes}
    app.add_middleware(RequestMiddleware, keys=keys, log=log, metrics=metrics, paths=paths)
    return app


def _tell_limits(description: dict[str, Any], catalogue: Catalogue, limits: Limits) -> None:
    """What differs between two servers, and so is not in the schemas: the models, and how much may be asked for."""
    models = dict.fromkeys(("ChatRequest", "ResponsesRequest"), catalogue.ids)
    models |= dict.fromkeys(("CompletionRequest", "TokenizeRequest", "DetokenizeRequest"), catalogue.completing)
    models["EmbeddingsRequest"] = catalogue.embedding
    for name, known in models.items():
        fields = description["components"]["schemas"][name]["properties"]
        fields["model"] = {"type": "string", "enum": known}
        for field, most in limits.of_fields().items():
            for form in fields.get(field, {}).get("anyOf", ()):
                if form["type"] == "integer":
                    form["maximum"] = most


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = {
        404: f"There is nothing at {request.method} {request.url.path[:100]}; see /openapi.json.",
        405: f"{request.method} is not for {request.url.path[:100]}; see /openapi.json.",
    }
    answer = ApiError(error.status_code, said.get(error.status_code, str(error.detail)))
    return JSONResponse(answer.body(), answer.status, {**answer.headers(), **(error.headers or {})})


async def _no_such_body(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    raise invalid_field(error.errors()) from None
