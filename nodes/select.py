"""Steerable: a selector picks the comment that best reflects the attribute (section 3)."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from modular_pluralism.errors import ModelCallError
from modular_pluralism.models.calls import Call, Outcome
from modular_pluralism.models.option_reader import NoLogProbabilitiesError
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.render import comment_lines
from modular_pluralism.nodes.step import State, Step, Steps, derive_seed
from modular_pluralism.option_math import normalise
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Comment, Selection

_ASKS = 3
"""How often a selector that can only be parsed is asked for a valid number."""
_NUMBER = re.compile(
    r"\W*(?:(?:the\s+)?(?:comment|number|answer)\W*(\d+)(?![\w/-]|[.,]\d)"
    # Without such a word before it, a word after it makes another thing of it: "3 comments", "2 or 3", "1st".
    r"|(?<![-−])(\d+)(?=\W*$|\**[.):](?!\d)|\W*\n))",
    re.IGNORECASE,
)


def select(models: PoolModels, prompts: PromptSet, *, communities: Sequence[str], quorum: int) -> Step:
    """Step that writes `selected` and `missing`.

    The choice comes from the log-probabilities of the comments' numbers, so it is always valid. Where the base LLM
    does not report them, its reply is parsed; one without a valid number is asked for again, and then it is an error.
    """

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        model = models.base()
        messages = prompts["select"].render(
            question=state["question"],
            attribute=state["attribute"],
            comments=comment_lines(prompts, present.comments),
        )
        numbers = [str(number) for number in range(1, len(present.comments) + 1)]
        try:
            outcome = yield ask.label_probabilities(model, [messages], numbers)
            selected = _likeliest(outcome.value[0].probabilities, present.comments, model)
        except NoLogProbabilitiesError:
            selected = yield from _ask_for_number(model, messages, present.comments, state.get("seed") or 0)
        return {"selected": selected, "missing": present.missing}

    return step


def _likeliest(raw: Sequence[float], comments: Sequence[Comment], model: PoolModel) -> Selection:
    try:
        probabilities = normalise(raw)
    except ValueError:
        raise ModelCallError(f"{model.place} gave no probability to any comment's number.") from None
    best = max(range(len(comments)), key=probabilities.__getitem__)
    return Selection(
        community=comments[best]["community"],
        probability=probabilities[best],
        probabilities={
            comment["community"]: probability for comment, probability in zip(comments, probabilities, strict=True)
        },
        mass=sum(raw),
        attempts=1,
    )


def _ask_for_number(
    model: PoolModel, messages: Sequence[BaseMessage], comments: Sequence[Comment], seed: int
) -> Generator[Call[Any], Outcome[Any], Selection]:
    for attempt in range(1, _ASKS + 1):
        # A new seed each time: the same one would bring the same reply.
        outcome = yield ask.text(
            model, messages, streamed=False, max_tokens=16, seed=derive_seed(seed, "select", attempt)
        )
        number = parse_number(str(outcome.value.text))
        if number is not None and 1 <= number <= len(comments):
            community = comments[number - 1]["community"]
            return Selection(community=community, probability=None, probabilities=None, mass=None, attempts=attempt)
    raise ModelCallError(
        f"{model.place} named no valid comment number in {_ASKS} replies; use a base LLM that follows instructions, "
        "or one that reports log-probabilities."
    )


def parse_number(reply: str) -> int | None:
    """The number that a reply such as "2", "Comment 2." or "**2**" begins with, or None."""
    match = _NUMBER.match(reply)
    digits = (match[1] or match[2]) if match else ""
    return int(digits) if 0 < len(digits) < 6 else None
