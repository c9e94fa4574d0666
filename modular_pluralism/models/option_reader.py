"""Reading the probability of given replies from a model: the protocol that embedded and remote models implement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig

NOT_STREAMED = "nostream"
"""LangGraph's tag for model calls that are kept out of the stream of messages."""


@dataclass(frozen=True)
class LabelReading:
    """Raw probability of each label as the reply, in the order of the labels; what they sum to is the label mass.

    `unread` are the places of labels whose probability the endpoint did not report.
    """

    probabilities: tuple[float, ...]
    unread: tuple[int, ...] = ()


class OptionReader(Protocol):
    """Reads probabilities from one model. Prompts are lists of chat messages."""

    def read_labels(
        self, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str], config: RunnableConfig
    ) -> list[LabelReading]:
        """For each prompt, the probability of each label as the reply, summed over its spellings ("A", " A").

        Raises:
            NoLogProbabilitiesError: the endpoint does not report any.
            ModelCallError: it reports some, but for none of the labels.
        """

    async def aread_labels(
        self, prompts: Sequence[Sequence[BaseMessage]], labels: Sequence[str], config: RunnableConfig
    ) -> list[LabelReading]:
        """As `read_labels`, for asyncio."""

    def read_texts(
        self, prompt: Sequence[BaseMessage], texts: Sequence[str], config: RunnableConfig
    ) -> list[list[float]]:
        """For each text, the log-probability of each of its tokens as the reply.

        Raises:
            NoLogProbabilitiesError: the endpoint does not report any for given texts.
        """

    async def aread_texts(
        self, prompt: Sequence[BaseMessage], texts: Sequence[str], config: RunnableConfig
    ) -> list[list[float]]:
        """As `read_texts`, for asyncio."""
