"""Reading an option distribution from a model, by one of three scorings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

from langchain_core.messages import BaseMessage

from modular_pluralism.errors import (
    ContextOverflowError,
    DeadlineError,
    ModelCallError,
    NoLogProbabilitiesError,
    NoUsableReplyError,
)
from modular_pluralism.models.option_reader import LabelReading
from modular_pluralism.models.pool_models import PoolModel
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.comment import failure
from modular_pluralism.nodes.render import fill, option_lines, turns_before, with_persona
from modular_pluralism.nodes.step import PromptsOf, QuestionParts, State, Steps, derive_seed
from modular_pluralism.option_math import (
    from_mean_logprobs,
    letters,
    mass_of_texts,
    mean_over_rotations,
    normalise,
    rotations,
)
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Comment, OptionDistribution, Scoring

Reading: TypeAlias = ask.Asking[OptionDistribution]
Prompt: TypeAlias = list[BaseMessage]


def read_options(
    model: PoolModel,
    state: State,
    prompts: PromptSet,
    prompt: str,
    comment: Comment | None = None,
    *,
    scoring: Scoring,
    samples: int,
    seed: int,
    persona: str | None = None,
) -> Reading:
    """The distribution over the question's options, as the scoring reads it, with the prompt of that name below a
    persona. All but "text" fill the prompt with the options, too."""
    options, asked = state["options"], prompts[prompt]
    if scoring == "text":
        return (yield from read_by_text(model, options, with_persona(persona, fill(asked, state, comment))))

    def lettered(order: Sequence[str]) -> Prompt:
        return with_persona(persona, fill(asked, state, comment, options=option_lines(prompts, order)))

    return (yield from read_by_label(model, options, lettered, rotate=scoring == "rotate", samples=samples, seed=seed))


def read_of_community(
    community: str,
    model: PoolModel,
    state: State,
    prompts: PromptSet,
    prompt: str,
    comment: Comment | None = None,
    *,
    into: str,
    scoring: Scoring,
    samples: int,
    persona: str | None = None,
) -> Steps:
    """A community's distribution, with a digest of what it was read from, to `into` of the state under its name, read
    with the prompt of that name for the people that an attribute names, or for anybody. Where it cannot be read, the
    community's comment gets an error, and so the community counts as missing."""
    origin = read_from(state, comment)
    try:
        distribution = yield from read_options(
            model,
            state,
            prompts,
            group_prompt(prompt, bool(state.get("attribute")), scoring),
            comment,
            scoring=scoring,
            samples=samples,
            seed=derive_seed(state.get("seed") or 0, prompt, community),
            persona=persona,
        )
    except (ModelCallError, DeadlineError, ContextOverflowError) as error:
        return failure(state, community, error)
    return {into: {community: {**distribution, "read_from": origin}}}


def read_from(state: State, comment: Comment | None) -> str:
    """A digest of what a community's distribution is read from: the question with its parts, and its comment where it
    is heard by that."""
    parts = [state["question"], state.get("attribute"), list(state["options"]), comment["text"] if comment else None]
    parts += [before] if (before := turns_before(state)) else []
    return blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()


def group_prompt(name: str, attribute: bool, scoring: Scoring) -> str:
    """The prompt of that name, for the people that an attribute names or for anybody, and for that scoring."""
    return f"{name}{'_group' if attribute else ''}{'_text' if scoring == 'text' else ''}"


def group_prompts(name: str) -> PromptsOf:
    """The prompts of a step that reads options with `group_prompt`, and is made with the scoring."""

    def prompts(question: QuestionParts, arguments: Mapping[str, Any]) -> Sequence[str]:
        scoring = arguments["scoring"]
        return with_fragments(group_prompt(name, question.attribute, scoring), scoring)

    return prompts


def with_fragments(prompt: str, scoring: Scoring) -> list[str]:
    """The prompt, with the one that stands inside it where options are read so."""
    return [prompt] if scoring == "text" else [prompt, "option"]


def read_by_label(
    model: PoolModel,
    options: Sequence[str],
    prompt_for: Callable[[Sequence[str]], Prompt],
    *,
    rotate: bool,
    samples: int,
    seed: int,
) -> Reading:
    """Probability of each option's letter as the next token, over its spellings, normalised.

    With `rotate`, the average over all rotations of the options' order, each mapped back: that takes out the
    preference that models have for a letter. `prompt_for` makes the prompt for options in a given order. Where the
    endpoint reports no log-probabilities, `samples` replies are drawn in all, and the result says so.
    """
    orders = rotations(len(options)) if rotate else [list(range(len(options)))]
    read = yield from read_orders(model, options, orders, prompt_for, samples=samples, seed=seed)
    return OptionDistribution(
        probabilities=mean_over_rotations(read.shares) if rotate else read.shares[0],
        mass=sum(read.masses) / len(read.masses),
        scoring="rotate" if rotate else "label",
        samples=read.samples,
        unread=[options[at] for at in read.unread],
        label=read.shares[0],
        label_mass=read.masses[0],
    )


class OrderReadings(NamedTuple):
    """What a model makes of the options in several orders: `shares` [n_orders, n_options], each normalised, by the
    places of that order; `masses` [n_orders], what the letters had before that; the number of `samples`, where replies
    were counted; and the places of options whose probability the endpoint did not report in some order."""

    shares: list[list[float]]
    masses: list[float]
    samples: int | None
    unread: list[int]


def read_orders(
    model: PoolModel,
    options: Sequence[str],
    orders: Sequence[Sequence[int]],
    prompt_for: Callable[[Sequence[str]], Prompt],
    *,
    samples: int,
    seed: int,
) -> ask.Asking[OrderReadings]:
    """The probability of each option's letter as the next token, in each of these orders; see `read_by_label`."""
    (read,) = yield from read_each(model, options, orders, [prompt_for], samples=samples, seed=seed)
    return read


def read_each(
    model: PoolModel,
    options: Sequence[str],
    orders: Sequence[Sequence[int]],
    prompts_for: Sequence[Callable[[Sequence[str]], Prompt]],
    *,
    samples: int,
    seed: int,
) -> ask.Asking[list[OrderReadings]]:
    """As `read_orders`, of several questions with the same options, in one call: what their prompts have in common is
    read once."""
    prompts = [prompt_for([options[at] for at in order]) for prompt_for in prompts_for for order in orders]
    labels = letters(len(options))
    drawn: int | None = None
    try:
        outcome = yield ask.label_probabilities(model, prompts, labels)
        readings: list[LabelReading] = outcome.value
    except NoLogProbabilitiesError:
        count = max(1, samples // len(orders))
        drawn = count * len(orders)
        readings = []
        for number, prompt in enumerate(prompts):
            readings.append((yield from _sample(model, prompt, labels, count, derive_seed(seed, number))))
    starts = range(0, len(prompts), len(orders))
    return [_in_orders(model, orders, readings[at : at + len(orders)], drawn) for at in starts]


def _in_orders(
    model: PoolModel, orders: Sequence[Sequence[int]], readings: Sequence[LabelReading], drawn: int | None
) -> OrderReadings:
    unread = {order[at] for order, reading in zip(orders, readings, strict=True) for at in reading.unread}
    return OrderReadings(
        shares=[_normalised(reading, model) for reading in readings],
        masses=[sum(reading.probabilities) for reading in readings],
        samples=drawn,
        unread=sorted(unread),
    )


def read_by_text(model: PoolModel, options: Sequence[str], prompt: Prompt) -> Reading:
    """Length-normalised likelihood of each option's text as the reply."""
    outcome = yield ask.text_logprobs(model, prompt, options)
    try:
        probabilities = from_mean_logprobs(outcome.value)
    except ValueError:
        raise ModelCallError(f"{model.place} gave no probability to any option's text.") from None
    return OptionDistribution(
        probabilities=probabilities,
        mass=mass_of_texts(options, outcome.value),
        scoring="text",
        samples=None,
        unread=[],
        label=None,
        label_mass=None,
    )


def _normalised(reading: LabelReading, model: PoolModel) -> list[float]:
    try:
        return normalise(reading.probabilities)
    except ValueError:
        raise ModelCallError(f"{model.place} gave no probability to any option's letter.") from None


def _sample(model: PoolModel, prompt: Prompt, labels: str, count: int, seed: int) -> ask.Asking[LabelReading]:
    """Shares of the labels among `count` sampled replies."""
    named = []
    for number in range(count):
        outcome = yield ask.text(
            model, prompt, streamed=False, max_tokens=8, temperature=1.0, seed=derive_seed(seed, number)
        )
        named.append(parse_label(str(outcome.value.text), labels))
    if not any(named):
        raise NoUsableReplyError(f"{model.place} named none of the options in {count} sampled replies.", count)
    return LabelReading(tuple(named.count(label) / count for label in labels))


def parse_label(reply: str, labels: str) -> str | None:
    """The letter that a reply such as "B", "b", "(B)", "Option B." or "**B**: …" consists of or begins with, or None.

    A reply that begins with a word, as in "A person would…", names no letter, and neither does one with two, as in
    "A, B".
    """
    match = re.match(rf"\W*(?:(?i:option|answer)\b\W*)?([{labels}])(?=\W*$|\**[.):](?!\w)|\W*\n)", reply)
    if match is None:  # a small letter is only clear where it stands alone: "a." may begin a list, or a sentence
        match = re.fullmatch(rf"\W*([{labels.lower()}])\W*", reply)
    return match[1].upper() if match else None
