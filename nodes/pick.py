"""Letting the base LLM pick one of a numbered list: of comments, or of communities."""

from __future__ import annotations

import re
from collections.abc import Sequence

from langchain_core.messages import BaseMessage

from modular_pluralism.errors import ModelCallError, NoLogProbabilitiesError, NoUsableReplyError
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.step import derive_seed
from modular_pluralism.option_math import most_likely, normalise
from modular_pluralism.types import Selection

_ASKS = 3
"""How often a model whose reply can only be parsed is asked for a valid number."""
_NUMBER = re.compile(
    r"\W*(?:(?:the\s+)?(?:comment|expert|number|answer)\W*(\d+)(?![\w/-]|[.,]\d)"
    # Without such a word before it, a word after it makes another thing of it: "3 comments", "2 or 3", "1st".
    r"|(?<![-−])(\d+)(?=\W*$|\**[.):](?!\d)|\W*\n))",
    re.IGNORECASE,
)


def pick(
    model: PoolModel, messages: Sequence[BaseMessage], communities: Sequence[str], seed: int
) -> ask.Asking[Selection]:
    """The community whose number, from 1 in the prompt's list, is the likeliest reply.

    The choice comes from the log-probabilities of the numbers, so it is always valid. Where the model does not report
    them, its reply is parsed; one without a valid number is asked for again, and then it is an error.
    """
    numbers = [str(number) for number in range(1, len(communities) + 1)]
    try:
        outcome = yield ask.label_probabilities(model, [messages], numbers)
    except NoLogProbabilitiesError:
        return (yield from _ask_for_number(model, messages, communities, seed))
    return _likeliest(outcome.value[0].probabilities, communities, model)


def _likeliest(raw: Sequence[float], communities: Sequence[str], model: PoolModel) -> Selection:
    try:
        probabilities = normalise(raw)
    except ValueError:
        raise ModelCallError(f"{model.place} gave no probability to any number of the list.") from None
    best = most_likely(probabilities)
    return Selection(
        community=communities[best],
        probability=probabilities[best],
        probabilities=dict(zip(communities, probabilities, strict=True)),
        mass=sum(raw),
        attempts=1,
    )


def _ask_for_number(
    model: PoolModel, messages: Sequence[BaseMessage], communities: Sequence[str], seed: int
) -> ask.Asking[Selection]:
    for attempt in range(1, _ASKS + 1):
        # A new seed each time: the same one would bring the same reply.
        outcome = yield ask.text(
            model, messages, streamed=False, max_tokens=16, seed=derive_seed(seed, "select", attempt)
        )
        number = parse_number(str(outcome.value.text))
        if number is not None and 1 <= number <= len(communities):
            return Selection(
                community=communities[number - 1], probability=None, probabilities=None, mass=None, attempts=attempt
            )
    raise NoUsableReplyError(
        f"{model.place} named no valid number in {_ASKS} replies; use a base LLM that follows instructions, "
        "or one that reports log-probabilities.",
        _ASKS,
    )


def parse_number(reply: str) -> int | None:
    """The number that a reply such as "2", "Comment 2." or "**2**" begins with, or None."""
    match = _NUMBER.match(reply)
    digits = (match[1] or match[2]) if match else ""
    return int(digits) if 0 < len(digits) < 6 else None
