"""Raw texts from a remote model: the request is handed on as it is, where the endpoint has /v1/completions."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

from langchain_openai import ChatOpenAI

from modular_pluralism.errors import ModelCallError, PluralismError
from modular_pluralism.models.calls import Caller, describe
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.models.redaction import KeylessText, keyless
from modular_pluralism.models.reply_parts import TokenCounts
from modular_pluralism.serving.answers import Tokens
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.concurrency import called
from modular_pluralism.serving.request_log import Exchange
from modular_pluralism.serving.schemas import CompletionRequest

_HANDED_ON = (
    *("prompt", "max_tokens", "temperature", "top_p", "n", "seed", "stop", "logprobs", "echo"),
    *("stream", "stream_options"),
)


async def remote_parts(
    model: PoolModel, request: CompletionRequest, caller: Caller, exchange: Exchange
) -> AsyncIterator[dict[str, Any]]:
    """The response of a remote model's endpoint, or the chunks of its stream where that is asked for.

    Raises:
        ApiError: 400, this model's client cannot.
        PluralismError: it failed.
    """
    chat = model.chat
    if not isinstance(chat, ChatOpenAI):
        raise ApiError(
            400,
            f"Raw completions cannot be asked of {model.place}: its client takes chats only. Send a "
            "chat to /v1/chat/completions.",
            param="model",
            code="chat_only",
        )
    own = {name: value for name in ("temperature", "top_p") if (value := getattr(chat, name)) is not None}
    sent = {"model": chat.model_name, **own, **request.model_dump(include=set(_HANDED_ON), exclude_none=True)}

    async def ask() -> Any:
        answer = await chat.root_async_client.completions.create(**sent)
        return answer if request.stream else _checked(answer, request, exchange)

    answer = await called(caller, model.place, ask)
    if not request.stream:
        yield answer
        return
    ended, texts = False, defaultdict[object, KeylessText](KeylessText)
    try:
        async with answer:
            async for chunk in answer:
                checked = _checked(chunk, request, exchange)
                for choice in checked["choices"]:
                    text = texts[choice.get("index")]
                    choice["text"] = text.passed(choice["text"]) + (text.ended() if choice.get("finish_reason") else "")
                ended = ended or any(choice.get("finish_reason") for choice in checked["choices"])
                yield checked
    except PluralismError:
        raise
    except Exception as error:
        raise ModelCallError(f"{model.place} failed: {describe(error)}.") from error
    if not ended:
        raise ModelCallError(f"{model.place} broke off before the end of its text.")


def _checked(response: Any, request: CompletionRequest, exchange: Exchange) -> dict[str, Any]:
    """The response under the id that was asked for."""
    try:
        # Without what is no number, which Python reads in JSON and nobody may write there.
        data = keyless(json.loads(json.dumps(response.model_dump(warnings=False)), parse_constant=lambda _: None))
    except RecursionError:
        data = {}
    choices = data.get("choices")
    if not isinstance(choices, list) or not all(
        isinstance(choice, dict) and isinstance(choice.get("text"), str) for choice in choices
    ):
        raise ModelCallError("the endpoint's reply is no completion")
    if usage := data.get("usage"):
        exchange.tokens = Tokens.of(TokenCounts.of_openai(usage))
    return {**data, "model": request.model}
