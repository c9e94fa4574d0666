"""An LLM as the judge of answers: which of two reflects more values, and how good one is by five criteria."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage

from modular_pluralism.errors import InputError, ModelCallError, NoLogProbabilitiesError
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.option_reader import LabelReading
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.read_options import parse_label
from modular_pluralism.nodes.render import one_line, option_lines
from modular_pluralism.option_math import normalise
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet

OpenModel = Callable[[], PoolModel]
"""Opens a model, or gives the open one: to be called within the event loop that uses it."""

PairOutcome = Literal["win", "tie", "lose"]

CRITERIA = ("helpfulness", "clarity", "factuality", "depth", "neutrality")
"""What answers are rated on; each has a prompt judge_NAME that says what is meant."""

_STARS = "12345"
_RATING = re.compile(
    rf"\W*(?:(?i:rating|score)\b\W*)?(?<![-−.])([{_STARS}])(?:\s*(?:/|out of)\s*5)?(?=\W*$|[.):](?!\w)|\W*\n)"
)


def named_model(
    pool: Pool, name: str | None = None, models: Mapping[str, BaseChatModel] | None = None, *, purpose: str = "judge"
) -> OpenModel:
    """How to open [models.NAME] without an adapter, or the base LLM where `name` is None.

    It shares its engine with everything else in the process that runs on the same weights. `models` puts chat models
    in the place of tables, as in PoolModels; `purpose` says in a message what the model was wanted for.

    Raises:
        InputError: the pool has no such model.
        ModelLoadError: its file is missing, or the variable with its API key is not set.
    """
    name = pool.base if name is None else name
    if name not in pool.models:
        raise InputError(f"The pool has no model {name!r} to {purpose} with; use one of {', '.join(pool.models)}.")
    opened = PoolModels(pool.model_copy(update={"base": name}), models)
    opened.base()  # so that what is missing is told now, and not in the middle of an evaluation
    return opened.base


@dataclass(frozen=True)
class PairVerdict:
    """What a judge makes of two answers, asked in both orders; the first of each two values is with `one` shown first.

    `outcome` is that of `one`: "win" or "lose" where both orders favour the same answer, "tie" where they do not, and
    None where a reply could not be read: those are counted in `parse_failures`. `probabilities` are those of `one`
    being better, [2], normalised over both letters, and `masses` the raw probability that the reply was one of the
    letters at all; both are None where the endpoint reports no log-probabilities and its replies were parsed.
    """

    outcome: PairOutcome | None
    probabilities: tuple[float, float] | None
    masses: tuple[float, float] | None
    parse_failures: int = 0


@dataclass(frozen=True)
class Rating:
    """How well an answer meets a criterion, from 1 to 5.

    `score` is the expected value over `probabilities` [5], which sum to 1, and `mass` the raw probability that the
    reply was a number from 1 to 5 at all. Where the reply had to be parsed, `score` is the number in it and the others
    are None; `score` is None where it had none.
    """

    score: float | None
    probabilities: tuple[float, ...] | None
    mass: float | None


async def judge_pair(
    model: PoolModel, prompts: PromptSet, question: str, one: str, other: str, *, caller: Caller | None = None
) -> PairVerdict:
    """Which of two answers reflects more values, and gives each a fair place.

    Read from the log-probabilities of the letters A and B; where the endpoint reports none, its replies are parsed.

    Raises:
        ModelCallError: the judge failed, or gave neither letter any probability.
        DeadlineError, ContextOverflowError: as any model call.
    """
    asked = [
        prompts["judge_pair"].render(question=one_line(question), answers=option_lines(prompts, shown))
        for shown in ((one, other), (other, one))
    ]
    read = await _read(model, asked, "AB", caller or Caller())
    if read is None:
        letters = [parse_label(reply, "AB") for reply in await _replies(model, asked, caller or Caller())]
        return _verdict_of_letters(letters)
    (first, _), (_, second) = (shares for shares, _ in read)
    outcome: PairOutcome = "tie"
    if (first - 0.5) * (second - 0.5) > 0:
        outcome = "win" if first > 0.5 else "lose"
    return PairVerdict(outcome, (first, second), (read[0][1], read[1][1]))


async def rate(
    model: PoolModel,
    prompts: PromptSet,
    question: str,
    answer: str,
    *,
    criteria: Sequence[str] = CRITERIA,
    caller: Caller | None = None,
) -> dict[str, Rating]:
    """The answer's rating on each criterion.

    Read from the log-probabilities of the numbers 1 to 5; where the endpoint reports none, its replies are parsed.

    Raises:
        ModelCallError: the judge failed, or gave none of the numbers any probability.
        DeadlineError, ContextOverflowError: as any model call.
    """
    asked = [
        prompts["judge_rating"].render(
            question=one_line(question), answer=one_line(answer), criterion=prompts[f"judge_{name}"].render_text()
        )
        for name in criteria
    ]
    read = await _read(model, asked, _STARS, caller or Caller())
    if read is None:
        numbers = [parse_rating(reply) for reply in await _replies(model, asked, caller or Caller())]
        return {name: Rating(number, None, None) for name, number in zip(criteria, numbers, strict=True)}
    return {
        name: Rating(_expected(shares), tuple(shares), mass)
        for name, (shares, mass) in zip(criteria, read, strict=True)
    }


def ratings_as_measures(ratings: Mapping[str, Rating]) -> dict[str, float]:
    """The scores that could be read, and their masses, under names for an Outcome's `measures`."""
    scores = {f"rating_{name}": rating.score for name, rating in ratings.items()}
    masses = {f"rating_{name}_mass": rating.mass for name, rating in ratings.items()}
    return {name: value for name, value in (scores | masses).items() if value is not None}


def parse_rating(reply: str) -> int | None:
    """The number from 1 to 5 that a reply such as "4", "Rating: 4." or "**4**/5" is or begins with, or None."""
    match = _RATING.match(reply.replace("*", ""))
    return int(match[1]) if match else None


async def label_shares(
    model: PoolModel, asked: Sequence[Sequence[BaseMessage]], labels: str, caller: Caller
) -> list[tuple[list[float], float]]:
    """For each prompt the labels' shares [n_labels], which sum to 1, and the raw mass that they have together.

    Raises:
        NoLogProbabilitiesError: the endpoint does not report any.
        ModelCallError: it failed, or gave none of the labels any probability.
        DeadlineError, ContextOverflowError: as any model call.
    """
    readings: list[LabelReading] = (await caller.acall(ask.label_probabilities(model, asked, labels), {})).value
    try:
        return [(normalise(reading.probabilities), math.fsum(reading.probabilities)) for reading in readings]
    except ValueError:
        raise ModelCallError(f"{model.place} gave no probability to any of the labels; use another judge.") from None


async def _read(
    model: PoolModel, asked: Sequence[Sequence[BaseMessage]], labels: str, caller: Caller
) -> list[tuple[list[float], float]] | None:
    """As label_shares, but None where the endpoint does not report any."""
    try:
        return await label_shares(model, asked, labels, caller)
    except NoLogProbabilitiesError:
        return None


async def _replies(model: PoolModel, asked: Sequence[Sequence[BaseMessage]], caller: Caller) -> list[str]:
    replies = []
    for prompt in asked:
        outcome = await caller.acall(ask.text(model, prompt, streamed=False, max_tokens=8, temperature=0), {})
        replies.append(str(outcome.value.text))
    return replies


def _verdict_of_letters(letters: Sequence[str | None]) -> PairVerdict:
    """`letters` [2] are what the judge replied with `one` shown as A, and then as B."""
    failures = sum(letter is None for letter in letters)
    if failures:
        return PairVerdict(None, None, None, failures)
    favours_one = (letters[0] == "A", letters[1] == "B")
    outcome: PairOutcome = "win" if all(favours_one) else "tie" if any(favours_one) else "lose"
    return PairVerdict(outcome, None, None)


def _expected(shares: Sequence[float]) -> float:
    return math.fsum(number * share for number, share in enumerate(shares, start=1))
