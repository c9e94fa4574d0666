"""The base LLM's tokenizer, for evaluation tools that have to know where a prompt ends and a reply begins.

The endpoints and their fields are those of vLLM, which lm-evaluation-harness knows.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from modular_pluralism.llama import ChatLlama
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.catalogue import BASE, Catalogue
from modular_pluralism.serving.fields import Body
from modular_pluralism.serving.token_text import check_tokens, text_of

_Token = Annotated[int, Field(ge=0, lt=2**31)]


class TokenizeRequest(Body):
    """A text to be cut into tokens."""

    prompt: str
    model: str | None = None
    add_special_tokens: bool = True


class DetokenizeRequest(Body):
    """Tokens to be put together."""

    tokens: list[_Token]
    model: str | None = None


def tokenizer_info(catalogue: Catalogue) -> dict[str, Any]:
    """What a client has to know of the base LLM's tokenizer."""
    model = _vocabulary(catalogue, None)
    return {
        "tokenizer_class": "llama.cpp",
        "bos_token": model.token_text(model.begin_token) if model.begin_token >= 0 else None,
        "eos_token": model.token_text(model.end_token) if model.end_token >= 0 else None,
        "chat_template": model.metadata.get("tokenizer.chat_template"),
    }


def tokenize(catalogue: Catalogue, request: TokenizeRequest) -> dict[str, Any]:
    """The tokens that /v1/completions reads for a text. A text that is exactly the begin- or end-of-text token's
    spelling is that token, since there is no other way to ask for its number; within a text it is plain text."""
    model = _vocabulary(catalogue, request.model)
    for token in (model.begin_token, model.end_token):
        if token >= 0 and request.prompt == model.token_text(token):
            return {"tokens": [token], "count": 1}
    tokens = model.tokenize(request.prompt, parse_special=False, add_special=request.add_special_tokens)
    return {"tokens": tokens, "count": len(tokens)}


def detokenize(catalogue: Catalogue, request: DetokenizeRequest) -> dict[str, Any]:
    """The text that tokens spell.

    Raises:
        ApiError: 400, a token is not in the vocabulary.
    """
    model = _vocabulary(catalogue, request.model)
    check_tokens(model, request.tokens)
    return {"prompt": text_of(model, request.tokens)}


def _vocabulary(catalogue: Catalogue, model: str | None) -> ModelFile:
    chat = catalogue.model(model or BASE).chat
    if not isinstance(chat, ChatLlama):
        raise ApiError(400, f"{model or BASE} is remote, and its tokenizer is not here.", param="model")
    return chat.engine.model
