"""Tokens as text, and the endpoints of the tokenizer, for evaluation tools that have to know where a prompt ends.

The endpoints and their fields are those of vLLM, which lm-evaluation-harness knows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response

from modular_pluralism.llama import ChatLlama
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.catalogue import BASE, Catalogue
from modular_pluralism.serving.limits import Gate
from modular_pluralism.serving.schemas import DetokenizeRequest, TokenizeRequest


def add_tokenizer(app: FastAPI, catalogue: Catalogue, gate: Gate) -> None:
    """The tokenizer's paths."""

    async def answer(request: Request, make: Callable[[], dict[str, Any]]) -> Response:
        """What is made in its turn, and beside the event loop: a long text has very many tokens."""
        async with gate.turn(request.state.exchange.key):
            data = await asyncio.to_thread(lambda: json.dumps(make()).encode())
        return Response(data, media_type="application/json")

    @app.get("/tokenizer_info")
    async def info() -> dict[str, Any]:
        """The base LLM's begin and end tokens and its chat template."""
        chat = _embedded(catalogue, None)
        model = chat.engine.model
        return {
            "tokenizer_class": "llama.cpp",
            "bos_token": model.token_text(model.begin_token) if model.begin_token >= 0 else None,
            "eos_token": model.token_text(model.end_token) if model.end_token >= 0 else None,
            "chat_template": chat.template_text or model.metadata.get("tokenizer.chat_template"),
        }

    @app.post("/tokenize")
    async def to_tokens(request: Request, wanted: TokenizeRequest) -> Response:
        """Cut a text into tokens."""
        model = _vocabulary(catalogue, wanted.model)

        def make() -> dict[str, Any]:
            # Exactly the spelling of the begin- or end-of-text token is that token, since there is no other way to ask
            # for its number; within a text it is plain text, as /v1/completions reads it.
            for token in (model.begin_token, model.end_token):
                if token >= 0 and wanted.prompt == model.token_text(token):
                    return {"tokens": [token], "count": 1}
            tokens = model.tokenize(wanted.prompt, parse_special=False, add_special=wanted.add_special_tokens)
            return {"tokens": tokens, "count": len(tokens)}

        return await answer(request, make)

    @app.post("/detokenize")
    async def to_text(request: Request, wanted: DetokenizeRequest) -> Response:
        """Put tokens together."""
        model = _vocabulary(catalogue, wanted.model)
        check_tokens(model, wanted.tokens)
        return await answer(request, lambda: {"prompt": text_of(model, wanted.tokens)})


def _vocabulary(catalogue: Catalogue, model: str | None) -> ModelFile:
    return _embedded(catalogue, model).engine.model


def _embedded(catalogue: Catalogue, model: str | None) -> ChatLlama:
    chat = catalogue.model(model or BASE).chat
    if not isinstance(chat, ChatLlama):
        raise ApiError(400, f"{model or BASE} is remote, and its tokenizer is not here.", param="model")
    return chat


def check_tokens(model: ModelFile, tokens: Sequence[int]) -> None:
    """Raise ApiError, 400, unless all tokens are in the vocabulary: llama.cpp would end the process."""
    if not all(0 <= token < model.n_vocab for token in tokens):
        raise ApiError(
            400, f"A token is not in the vocabulary of this model, whose tokens are 0 to {model.n_vocab - 1}."
        )


def shown(model: ModelFile, token: int) -> str:
    """A token by itself: its text, a control token's spelling, or its bytes where they are no whole characters."""
    data = model.piece(token)
    if not data:
        return model.token_text(token)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def text_of(model: ModelFile, tokens: Sequence[int]) -> str:
    """The text that tokens spell; control tokens are no text."""
    return b"".join(map(model.piece, tokens)).decode("utf-8", "replace")
