"""Vectors of texts, in the form of OpenAI's API."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import numpy.typing as npt

from modular_pluralism.llama import LlamaEmbeddings
from modular_pluralism.model_tables import EmbeddedModel
from modular_pluralism.serving.answers import Tokens
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.concurrency import called
from modular_pluralism.serving.request_log import Exchange
from modular_pluralism.serving.schemas import EmbeddingsRequest

_Vectors = npt.NDArray[np.float32]


async def embedding_parts(
    catalogue: Catalogue, request: EmbeddingsRequest, exchange: Exchange
) -> AsyncIterator[dict[str, Any]]:
    """The response, as the one part that it has, for an AnswerResponse.

    Raises:
        ApiError, PluralismError: there is none.
    """
    vectors, tokens = await _vectors(catalogue, request)
    exchange.tokens = Tokens(tokens)
    yield {
        "data": (
            {"object": "embedding", "index": index, "embedding": _written(vector, request)}
            for index, vector in enumerate(vectors)
        ),
        "object": "list",
        "model": request.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _written(vector: _Vectors, request: EmbeddingsRequest) -> Any:
    return b64encode(vector.astype("<f4").tobytes()).decode() if request.is_base64 else vector.tolist()


async def _vectors(catalogue: Catalogue, request: EmbeddingsRequest) -> tuple[_Vectors, int]:
    """The vectors [inputs, dimensions], and how many tokens were read; 0 where the model does not tell."""
    name = catalogue.embedding_model(request.model)
    if isinstance(catalogue.pool.models[name], EmbeddedModel):  # whose file may have to be fetched
        embeddings = await asyncio.to_thread(catalogue.models.embeddings, name)
    else:
        embeddings = catalogue.models.embeddings(name)
    if isinstance(embeddings, LlamaEmbeddings):
        embedder = await embeddings.aload()
        if request.dimensions not in (None, embedder.dimensions):
            raise _one_length(f"{request.model} gives vectors of {embedder.dimensions} numbers, and no others")
        found = await called(catalogue.caller, f"model {name!r}", lambda: embedder.aembed(request.input))
        return found.vectors, found.tokens
    from modular_pluralism.models.remote_embeddings import CalledEmbeddings, RemoteEmbeddings

    assert isinstance(embeddings, CalledEmbeddings)
    inner = embeddings.inner
    if isinstance(inner, RemoteEmbeddings):
        told = await called(
            catalogue.caller, embeddings.place, lambda: inner.avectors(request.input, request.dimensions)
        )
        return np.asarray(told.vectors, np.float32), told.tokens
    texts = [given for given in request.input if isinstance(given, str)]
    if len(texts) < len(request.input):
        raise ApiError(400, f"{request.model} takes texts only, since its tokenizer is not here.", param="input")
    if request.dimensions is not None:
        raise _one_length(f"{request.model} cannot be asked for another length")
    return np.asarray(await embeddings.aembed_documents(texts), np.float32), 0


def _one_length(why: str) -> ApiError:
    return ApiError(400, f"{why}; leave dimensions out.", param="dimensions", code="unsupported_dimensions")
