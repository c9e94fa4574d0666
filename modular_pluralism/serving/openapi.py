"""The server's description of itself at /openapi.json."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.chat_request import ChatRequest
from modular_pluralism.serving.completion_request import CompletionRequest
from modular_pluralism.serving.fields import IGNORED, NEUTRAL
from modular_pluralism.serving.limits import Limits
from modular_pluralism.serving.tokenizer_endpoint import DetokenizeRequest, TokenizeRequest

_BODIES: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/tokenize": TokenizeRequest,
    "/detokenize": DetokenizeRequest,
}
_TEXT = {"type": "string"}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"anyOf": [_TEXT, {"type": "null"}]},
                "code": {"anyOf": [_TEXT, {"type": "null"}]},
            },
        }
    },
}


def describe_api(app: FastAPI, catalogue: Catalogue, limits: Limits) -> None:
    """Add what FastAPI cannot see: bodies are read by ourselves, so that every mistake is told in OpenAI's form."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app, catalogue, limits)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _described(app: FastAPI, catalogue: Catalogue, limits: Limits) -> dict[str, Any]:
    description = get_openapi(title=app.title, version=app.version, routes=app.routes)
    _, schemas = models_json_schema(
        [(model, "validation") for model in _BODIES.values()], ref_template="#/components/schemas/{model}"
    )
    components = {**schemas["$defs"], "Error": _ERROR}
    for model in _BODIES.values():
        ids = catalogue.ids if model is ChatRequest else catalogue.completing
        components[model.__name__]["properties"]["model"] = {"type": "string", "enum": ids}
        _tell_what_else_is_taken(components[model.__name__], limits)
    description["components"] = {"schemas": components}
    error = {"description": "What is wrong.", "content": _json({"$ref": "#/components/schemas/Error"})}
    for path, operations in description["paths"].items():
        for operation in operations.values():
            operation["responses"] = {"200": {"description": "The answer."}, "default": error}
            if path in _BODIES:
                reference = {"$ref": f"#/components/schemas/{_BODIES[path].__name__}"}
                operation["requestBody"] = {"required": True, "content": _json(reference)}
    description["paths"]["/health"]["get"]["responses"] = {
        "200": {"description": "It answers."},
        "503": {"description": "It is stopping."},
    }
    return description


def _tell_what_else_is_taken(schema: dict[str, Any], limits: Limits) -> None:
    """The limits, the fields that are ignored, and those of which only neutral values are taken."""
    fields = schema["properties"]
    most = {
        "max_tokens": limits.tokens,
        "max_completion_tokens": limits.tokens,
        "n": limits.choices,
        "logprobs": limits.top_logprobs,
        "top_logprobs": limits.top_logprobs,
    }
    for name, maximum in most.items():
        for form in fields.get(name, {}).get("anyOf", ()):
            if form["type"] == "integer":
                form.pop("exclusiveMaximum", None)
                form["maximum"] = maximum
    for name in IGNORED:
        fields.setdefault(name, {})
    for name, values in NEUTRAL.items():
        fields.setdefault(name, {"enum": [*values, None]})
    schema["additionalProperties"] = False


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
