"""A substitute for the paper's entailment: an LLM's log-probability that a sentence follows from a text."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from modular_pluralism.errors import NoLogProbabilitiesError
from modular_pluralism.evaluation.measures.entailment import Counts
from modular_pluralism.evaluation.measures.judge import OpenModel, label_shares
from modular_pluralism.models.calls import Caller
from modular_pluralism.nodes.render import one_line, option_lines
from modular_pluralism.option_math import letters, mean_over_rotations, rotations
from modular_pluralism.prompts import PromptSet

_OPTIONS = ("Yes", "No")
_ORDERS = rotations(len(_OPTIONS))
_PAIRS_A_CALL = 8
_CALLS_AT_ONCE = 4
"""So that a call stays within its deadline, however many pairs there are and however many items wait beside it: the
deadline begins when it is the call's turn."""


class LlmEntailment:
    """The probability of "Yes" when an LLM is asked whether the sentence follows from the text.

    It is asked with the options in both orders and the mean is taken, so that a preference for a letter cancels out.
    """

    def __init__(self, model: OpenModel, prompts: PromptSet, caller: Caller | None = None) -> None:
        """`model` opens the judge (see named_model); `caller` retries and keeps the deadline."""
        self._open = model
        self._prompt = prompts["judge_entailment"]
        self._options = [option_lines(prompts, [_OPTIONS[at] for at in order]) for order in _ORDERS]
        self._caller = caller or Caller()
        self._place = model().place
        self._turns = asyncio.Semaphore(_CALLS_AT_ONCE)

    @property
    def name(self) -> str:
        """What the measure is called in tables."""
        return f"entailment judged by {self._place}"

    def note(self, counts: Counts) -> str:
        """That it is not the paper's measure, with the mean label mass."""
        note = (
            f"Not the paper's measure: entailment was judged by {self._place} from its log-probabilities, with the "
            "options in both orders."
        )
        if counts.readings:
            note += f" On average {counts.mass / counts.readings:.0%} of its probability was on one of the two letters."
        return note

    async def scores(self, pairs: Sequence[tuple[str, str]], counts: Counts | None = None) -> list[float]:
        """The probability of "Yes" for each pair, normalised over both answers.

        Raises:
            NoLogProbabilitiesError: the endpoint does not report any.
            ModelCallError: it failed, or gave none of the letters any probability.
            DeadlineError, ContextOverflowError: as any model call.
        """
        scores: list[float] = []
        for start in range(0, len(pairs), _PAIRS_A_CALL):
            async with self._turns:
                scores += await self._some(pairs[start : start + _PAIRS_A_CALL], counts or Counts())
        return scores

    async def _some(self, pairs: Sequence[tuple[str, str]], counts: Counts) -> list[float]:
        prompts = [prompt for text, sentence in pairs for prompt in self._both_orders(text, sentence)]
        try:
            read = await label_shares(self._open(), prompts, letters(len(_OPTIONS)), self._caller)
        except NoLogProbabilitiesError as error:
            raise NoLogProbabilitiesError(
                f"{self._place} reports no log-probabilities, so it cannot judge entailment; use an embedded model, or "
                "an endpoint that reports them."
            ) from error
        counts.mass += math.fsum(mass for _, mass in read)
        counts.readings += len(read)
        shares = [each for each, _ in read]
        step = len(_ORDERS)
        return [mean_over_rotations(shares[at : at + step])[0] for at in range(0, len(shares), step)]

    def _both_orders(self, text: str, sentence: str) -> list[list[BaseMessage]]:
        return [
            self._prompt.render(text=one_line(text), sentence=one_line(sentence), options=options)
            for options in self._options
        ]
