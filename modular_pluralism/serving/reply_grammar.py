"""Replies in JSON: a grammar for embedded models, the endpoint's own means for remote ones."""

from __future__ import annotations

from typing import Any

from modular_pluralism.serving.chat_request import ChatRequest


def format_settings(request: ChatRequest, *, embedded: bool) -> dict[str, Any]:
    """Call settings that make a model keep to the request's `response_format`.

    Raises:
        InputError: the schema cannot be used.
    """
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return {}
    if not embedded:
        return {"extra_body": {"response_format": wanted.model_dump(by_alias=True, exclude_none=True)}}
    from modular_pluralism.llama.grammar import JSON_OBJECT, grammar_of_schema

    if wanted.json_schema is None:
        return {"grammar": JSON_OBJECT}
    return {"grammar": grammar_of_schema(wanted.json_schema.definition)}
