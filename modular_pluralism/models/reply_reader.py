"""Option probabilities from any chat model that reports `top_logprobs` as OpenAI's API does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from modular_pluralism.errors import ModelCallError, NoLogProbabilitiesError
from modular_pluralism.models.option_reader import NOT_STREAMED, LabelReading

_TOP = 20
"""The most that OpenAI's API reports."""
_SETTINGS: dict[str, Any] = {"logprobs": True, "top_logprobs": _TOP, "max_tokens": 1, "temperature": 0}


class ReplyOptionReader:
    """Implements `OptionReader` by asking for one token of reply together with the likeliest alternatives."""

    def __init__(self, chat: BaseChatModel, place: str) -> None:
        self._chat = chat
        self._place = place

    def read_labels(
        self, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str], config: RunnableConfig
    ) -> list[LabelReading]:
        """See OptionReader."""
        with self._asking(labels):
            replies = self._chat.batch([list(prompt) for prompt in prompts], _quiet(config), **_SETTINGS)
        return [self._reading(reply, labels) for reply in replies]

    async def aread_labels(
        self, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str], config: RunnableConfig
    ) -> list[LabelReading]:
        """See OptionReader."""
        with self._asking(labels):
            replies = await self._chat.abatch([list(prompt) for prompt in prompts], _quiet(config), **_SETTINGS)
        return [self._reading(reply, labels) for reply in replies]

    def read_texts(
        self, prompt: Sequence[BaseMessage], texts: Sequence[str], config: RunnableConfig
    ) -> list[list[float]]:
        """Not to be had: chat endpoints do not score given texts."""
        raise self._no_texts()

    async def aread_texts(
        self, prompt: Sequence[BaseMessage], texts: Sequence[str], config: RunnableConfig
    ) -> list[list[float]]:
        """Not to be had: chat endpoints do not score given texts."""
        raise self._no_texts()

    def _no_texts(self) -> NoLogProbabilitiesError:
        return NoLogProbabilitiesError(
            f"{self._place} cannot score given texts, since chat endpoints do not report their log-probabilities; "
            "use label or rotate scoring, or an embedded model."
        )

    @contextmanager
    def _asking(self, labels: Sequence[str]) -> Iterator[None]:
        """Says in our words what keeps an endpoint from reporting log-probabilities of these labels."""
        if any(len(label) > 1 for label in labels):  # several tokens there, perhaps, and only the first is reported
            raise NoLogProbabilitiesError(f"{self._place} reports single tokens only.")
        try:
            yield
        except Exception as error:
            if getattr(error, "status_code", None) in (400, 422) and "logprobs" in str(error):
                raise NoLogProbabilitiesError(f"{self._place} does not offer log-probabilities.") from error
            raise

    def _reading(self, reply: BaseMessage, labels: Sequence[str]) -> LabelReading:
        content = (reply.response_metadata.get("logprobs") or {}).get("content") or []
        if not content:
            raise NoLogProbabilitiesError(f"{self._place} does not offer log-probabilities.")
        # The chosen token may stand among the top ones or not.
        reported = {entry["token"]: entry["logprob"] for entry in (content[0], *(content[0].get("top_logprobs") or ()))}
        logprobs: list[list[float]] = [
            [math.exp(logprob) for token, logprob in reported.items() if token.strip() == label] for label in labels
        ]
        if not any(logprobs):
            raise ModelCallError(
                f"{self._place} put none of the labels among its {len(reported)} likeliest replies; "
                "change the prompt, or use another base LLM."
            )
        return LabelReading(
            tuple(map(math.fsum, logprobs)), tuple(at for at, spellings in enumerate(logprobs) if not spellings)
        )


def _quiet(config: RunnableConfig) -> RunnableConfig:
    return merge_configs(config, {"tags": [NOT_STREAMED]})
