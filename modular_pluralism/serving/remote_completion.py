"""Raw texts from a remote model: the request is handed on as it is, where the endpoint has /v1/completions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from langchain_openai import ChatOpenAI

from modular_pluralism.errors import ModelCallError, PluralismError
from modular_pluralism.models.calls import Caller, describe
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.serving.answers import Tokens
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.concurrency import called
from modular_pluralism.serving.request_log import Exchange
from modular_pluralism.serving.schemas import CompletionRequest

_HANDED_ON = (
    *("prompt", "max_tokens", "temperature", "top_p", "n", "seed", "stop", "logprobs", "echo"),
    *("stream", "stream_options"),
)


class RemoteCompletion:
    """Hands a request on to the endpoint of a remote model.

    Raises:
        ApiError: 400, this model's client cannot.
    """

    def __init__(self, model: PoolModel, request: CompletionRequest, caller: Caller, exchange: Exchange) -> None:
        if not isinstance(model.chat, ChatOpenAI):
            raise ApiError(
                400,
                f"Raw completions cannot be asked of {model.place}: its client takes chats only. Send a "
                "chat to /v1/chat/completions.",
                param="model",
                code="chat_only",
            )
        self._place = model.place
        self._model_id = request.model
        self._exchange = exchange
        self._caller = caller
        self._client: Any = model.chat.root_async_client.completions
        sent = request.model_dump(include=set(_HANDED_ON), exclude_none=True)
        for name, value in (("temperature", model.chat.temperature), ("top_p", model.chat.top_p)):
            if value is not None:
                sent.setdefault(name, value)
        self._sent = {"model": model.chat.model_name, **sent}

    async def parts(self) -> AsyncIterator[dict[str, Any]]:
        """The endpoint's response, or the chunks of its stream where that is asked for.

        Raises:
            PluralismError: it failed.
        """
        if not self._sent.get("stream"):

            async def ask() -> dict[str, Any]:
                return self._checked(await self._client.create(**self._sent))

            yield await called(self._caller, self._place, ask)
            return
        ended = False
        stream = await called(self._caller, self._place, lambda: self._client.create(**self._sent))
        try:
            async with stream:
                async for chunk in stream:
                    checked = self._checked(chunk)
                    ended = ended or any(choice.get("finish_reason") for choice in checked["choices"])
                    yield checked
        except PluralismError:
            raise
        except Exception as error:
            raise ModelCallError(f"{self._place} failed: {describe(error)}.") from error
        if not ended:
            raise ModelCallError(f"{self._place} broke off before the end of its text.")

    def _checked(self, response: Any) -> dict[str, Any]:
        """The response under the id that was asked for."""
        data: dict[str, Any] = response.model_dump(warnings=False)
        choices = data.get("choices")
        if not isinstance(choices, list) or not all(isinstance(choice.get("text"), str) for choice in choices):
            raise ModelCallError("the endpoint's reply is no completion")
        if usage := data.get("usage"):
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
            tokens = usage.get("prompt_tokens") or 0, cached, usage.get("completion_tokens") or 0
            self._exchange.tokens = Tokens(*tokens)
        return {**data, "model": self._model_id}
