"""Option probabilities from any chat model that reports `top_logprobs` as OpenAI's API does."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import merge_configs
from pydantic import Field, TypeAdapter, ValidationError

from modular_pluralism.errors import ModelCallError, NoLogProbabilitiesError
from modular_pluralism.models.option_reader import NOT_STREAMED, LabelReading
from modular_pluralism.models.refusals import refused_setting, shortened

_ROUNDING = 0.001
"""How far a log-probability may be above 0."""
_ROUNDING_OF_ALL = 0.01
"""How far the probabilities of all alternatives may be above 1 together."""
_LOGPROB = TypeAdapter(Annotated[float, Field(le=_ROUNDING)])
_SETTINGS: dict[str, Any] = {"logprobs": True, "top_logprobs": 20, "max_tokens": 1, "temperature": 0}


class NoOptionReader:
    """Implements `OptionReader` for what reports no log-probabilities: its replies are counted instead."""

    def __init__(self, place: str) -> None:
        self._place = place

    def read_labels(
        self, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str], config: RunnableConfig
    ) -> list[LabelReading]:
        """Not to be had."""
        raise self._no_labels()

    async def aread_labels(
        self, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str], config: RunnableConfig
    ) -> list[LabelReading]:
        """Not to be had."""
        raise self._no_labels()

    def _no_labels(self) -> NoLogProbabilitiesError:
        return NoLogProbabilitiesError(f"{self._place} does not offer log-probabilities.")

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


class ReplyOptionReader(NoOptionReader):
    """Implements `OptionReader` by asking for one token of reply together with the likeliest alternatives."""

    def __init__(self, chat: Runnable[Any, AIMessage], place: str) -> None:
        super().__init__(place)
        self._chat = chat

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

    @contextmanager
    def _asking(self, labels: Sequence[str]) -> Iterator[None]:
        """Says in our words what keeps an endpoint from reporting log-probabilities of these labels."""
        if any(len(label) > 1 for label in labels):  # several tokens there, perhaps, and only the first is reported
            raise NoLogProbabilitiesError(f"{self._place} reports single tokens only.")
        takes: Callable[[], bool] | None = getattr(self._chat, "takes_logprobs", None)
        if takes is not None and not takes():  # known from an earlier refusal
            raise self._no_labels()
        try:
            yield
        except Exception as error:
            if refused_setting(error) in ("logprobs", "top_logprobs"):
                raise self._no_labels() from error
            raise

    def _reading(self, reply: BaseMessage, labels: Sequence[str]) -> LabelReading:
        try:
            reported = _reported(reply.response_metadata.get("logprobs"))
        except ValueError as error:
            raise ModelCallError(
                f"{self._place} reported log-probabilities that cannot be true ({error}); use another model."
            ) from None
        if not reported:
            raise self._no_labels()
        logprobs: list[list[float]] = [
            [probability for token, probability in reported if token.strip() == label] for label in labels
        ]
        if not any(logprobs):
            raise ModelCallError(
                f"{self._place} put none of the labels among its {len(reported)} likeliest replies; "
                "change the prompt, or use another base LLM."
            )
        return LabelReading(
            tuple(map(math.fsum, logprobs)), tuple(at for at, spellings in enumerate(logprobs) if not spellings)
        )


def _reported(logprobs: object) -> list[tuple[str, float]]:
    """The first token's alternatives with their probabilities, which sum to 1 at most; a token's text may stand there
    several times. Entries that are none, or hold no number, are left out.

    Raises:
        ValueError: one of them, or all together, are no probability.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict):
        return []
    top = first.get("top_logprobs")
    found = list(filter(None, map(_entry, top if isinstance(top, list) else [])))
    chosen = _entry(first)
    if chosen is not None and chosen[0] not in {token for token, _ in found}:  # it stands among the top ones or not
        found.append(chosen)
    total = math.fsum(probability for _, probability in found)
    if total > 1 + _ROUNDING_OF_ALL:
        raise ValueError(f"the likeliest replies have a probability of {total:.3g} together")
    return [(token, probability / max(1.0, total)) for token, probability in found]


def _entry(entry: object) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    token, logprob = entry.get("token"), entry.get("logprob")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        return None
    try:  # a little above 0 is a rounding error
        return token, math.exp(min(_LOGPROB.validate_python(logprob), 0.0))
    except ValidationError:
        raise ValueError(f"{shortened(repr(token))} has {shortened(repr(logprob))}") from None


def _quiet(config: RunnableConfig) -> RunnableConfig:
    return merge_configs(config, {"tags": [NOT_STREAMED]})
