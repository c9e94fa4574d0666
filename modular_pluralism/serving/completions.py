"""Raw completions: from a request to the objects that are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from modular_pluralism.llama import ChatLlama
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.serving.answers import End, Tokens
from modular_pluralism.serving.concurrency import all_of, pumped
from modular_pluralism.serving.embedded_completion import Completer
from modular_pluralism.serving.remote_completion import RemoteCompleter, tokens_of
from modular_pluralism.serving.request_log import Exchange
from modular_pluralism.serving.responses import (
    Frame,
    completion_end,
    completion_part,
    completion_response,
    usage_chunk,
)
from modular_pluralism.serving.sampling import seed_of, seed_of_choice
from modular_pluralism.serving.schemas import CompletionRequest


async def whole_completion(
    model: PoolModel, request: CompletionRequest, caller: Caller, exchange: Exchange
) -> dict[str, Any]:
    """The response as one object."""
    if not isinstance(model.chat, ChatLlama):
        response = await RemoteCompleter(model, request, caller).whole()
        exchange.tokens = tokens_of(response)
        return {**response, "model": request.model}
    completers, seed = await _completers(model.chat, request)
    texts = await all_of([completer.whole() for completer in completers])
    exchange.tokens = _together([text.tokens for text in texts], request.choices)
    frame = Frame(request.model, "text_completion")
    return completion_response(frame, texts, exchange.tokens, {"seed": seed})


async def completion_chunks(
    model: PoolModel, request: CompletionRequest, caller: Caller, exchange: Exchange
) -> AsyncIterator[dict[str, Any]]:
    """The response in chunks."""
    if not isinstance(model.chat, ChatLlama):
        async with pumped(RemoteCompleter(model, request, caller).chunks()) as chunks:
            async for chunk in chunks:
                exchange.tokens = tokens_of(chunk) if chunk.get("usage") else exchange.tokens
                yield {**chunk, "model": request.model}
        return
    completers, seed = await _completers(model.chat, request)
    frame = Frame(request.model, "text_completion", with_usage=request.with_usage)
    ends: dict[int, Tokens] = {}
    async with pumped(*(completer.parts() for completer in completers)) as events:
        async for event in events:
            if isinstance(event, End):
                ends[event.index] = event.tokens
                exchange.tokens = _together([ends[index] for index in sorted(ends)], request.choices)
                yield completion_end(frame, event, {"seed": seed})
            else:
                yield completion_part(frame, event)
    if request.with_usage:
        yield usage_chunk(frame, exchange.tokens)


async def _completers(chat: ChatLlama, request: CompletionRequest) -> tuple[list[Completer], int]:
    """One for each text that is wanted, in OpenAI's order: all texts of a prompt, then those of the next."""
    await chat.aload()
    seed = seed_of(request.seed)
    wanted = [(prompt, choice) for prompt in request.prompt for choice in range(request.choices)]
    return [
        Completer(chat, request, prompt, seed_of_choice(seed, choice), index)
        for index, (prompt, choice) in enumerate(wanted)
    ], seed


def _together(tokens: list[Tokens], choices: int) -> Tokens:
    """Every prompt counts once, however many texts it got."""
    total = Tokens()
    for index, cost in enumerate(tokens):
        total += cost if index % choices == 0 else Tokens(completion=cost.completion)
    return total
