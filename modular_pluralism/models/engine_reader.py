"""Option probabilities from the embedded engine."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

from modular_pluralism.errors import ModelCallError
from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.llama.reading import LogProbs, ReadingRequest, continuations, next_tokens
from modular_pluralism.models.option_reader import LabelReading

_OF_CHANCE = 0.01
"""A mass below so much of what a draw among all tokens would give the labels is none: whatever it is made of, it says
nothing of the options."""


class EngineOptionReader:
    """Implements `OptionReader` for a ChatLlama: the whole vocabulary is read, so no label is ever unread."""

    def __init__(self, chat: ChatLlama) -> None:
        self._chat = chat

    def read_labels(
        self, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str], config: RunnableConfig
    ) -> list[LabelReading]:
        """See OptionReader. Prompts that begin alike share that beginning.

        Raises:
            ModelCallError: the labels have next to no probability.
        """
        readings, told = self._labels(prompts, labels)
        return told([self._chat.engine.read(reading, **self._how) for reading in readings])

    async def aread_labels(
        self, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str], config: RunnableConfig
    ) -> list[LabelReading]:
        """See OptionReader."""
        await self._chat.aload()
        # In a thread: the tokens of all rotations of a long list take longer than an event loop may be held up.
        readings, told = await asyncio.to_thread(self._labels, prompts, labels)
        return told([await self._chat.engine.aread(reading, **self._how) for reading in readings])

    def read_texts(
        self, prompt: Sequence[BaseMessage], texts: Sequence[str], config: RunnableConfig
    ) -> list[list[float]]:
        """See OptionReader."""
        return [row.tolist() for row in self._chat.engine.read(self._texts(prompt, texts), **self._how)]

    async def aread_texts(
        self, prompt: Sequence[BaseMessage], texts: Sequence[str], config: RunnableConfig
    ) -> list[list[float]]:
        """See OptionReader."""
        await self._chat.aload()
        reading = await asyncio.to_thread(self._texts, prompt, texts)
        return [row.tolist() for row in await self._chat.engine.aread(reading, **self._how)]

    @property
    def _how(self) -> dict[str, Any]:
        return {"adapter": self._chat.adapter, "timeout": self._chat.timeout}

    def _labels(
        self, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str]
    ) -> tuple[list[ReadingRequest[Any]], Callable[[list[Any]], list[LabelReading]]]:
        """What has to be read, and what its results tell of the labels after each prompt."""
        tokens = [self._chat.prompt_tokens(prompt, answered_at_once=True) for prompt in prompts]
        if (single := self._single_tokens(labels)) is not None:
            after = next_tokens(tokens, self._chat.engine.model.n_vocab)
            chance = sum(map(len, single)) / self._chat.engine.model.n_vocab
            return [after], lambda results: [self._checked(_from_next_token(row, single), chance) for row in results[0]]
        replies = self._whole_replies(labels)
        flat = [reply for spellings in replies for reply in spellings]
        whole = [continuations(prompt, flat) for prompt in tokens]
        return whole, lambda results: [_from_replies(scores, replies) for scores in results]

    def _texts(self, prompt: Sequence[BaseMessage], texts: Sequence[str]) -> ReadingRequest[list[LogProbs]]:
        # After a raw completion prompt a reply goes on in the same line; after a chat template it stands alone.
        space = "" if self._chat.template else " "
        model = self._chat.engine.model
        replies = [model.tokenize(space + text, parse_special=False) for text in texts]
        return continuations(self._chat.prompt_tokens(prompt, answered_at_once=True), replies)

    def _checked(self, reading: LabelReading, chance: float) -> LabelReading:
        """Raise ModelCallError where the model was not answering at all."""
        mass = math.fsum(reading.probabilities)
        if mass < chance * _OF_CHANCE:
            raise ModelCallError(
                f"{self._chat.file.stem} gives the options' letters a probability of {mass:.1e} together, far less "
                "than a draw among all tokens would: it was not answering; change the prompt, or use another model."
            )
        return reading

    def _spellings(self, label: str) -> list[list[int]]:
        model = self._chat.engine.model
        spellings = (tuple(model.tokenize(text, parse_special=False)) for text in (label, f" {label}"))
        return [list(spelling) for spelling in dict.fromkeys(spellings)]

    def _single_tokens(self, labels: Sequence[str]) -> list[list[int]] | None:
        """The single tokens that spell each label, or None if some label has none (such as "12")."""
        single = [[tokens[0] for tokens in self._spellings(label) if len(tokens) == 1] for label in labels]
        return single if all(single) else None

    def _whole_replies(self, labels: Sequence[str]) -> list[list[list[int]]]:
        """Each label's spellings as complete replies: with the end of the turn, since "1" also begins "12"."""
        end = self._chat.engine.model.turn_end_token
        return [[[*tokens, end] for tokens in self._spellings(label)] for label in labels]


def _from_next_token(row: LogProbs, single: Sequence[Sequence[int]]) -> LabelReading:
    return LabelReading(tuple(math.fsum(math.exp(row[token]) for token in tokens) for tokens in single))


def _from_replies(scores: Sequence[LogProbs], replies: Sequence[Sequence[list[int]]]) -> LabelReading:
    of_each = iter(scores)
    return LabelReading(
        tuple(math.fsum(math.exp(float(next(of_each).sum())) for _ in spellings) for spellings in replies)
    )
