"""Rating pairs of answers without knowing which prompts each is from, and what may be said of the ratings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.report.figure_text import figure_text, number_format
from modular_pluralism.evaluation.run.facts import digest
from modular_pluralism.evaluation.run.journal import Journal
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, Draw, ratio
from modular_pluralism.evaluation.statistics.clusters import Grouping
from modular_pluralism.evaluation.statistics.comparison import verdict_of
from modular_pluralism.evaluation.statistics.results import Column, Figure
from modular_pluralism.nodes.step import derive_seed
from modular_pluralism.prompt_trials.result_models import Answer, Preference, Rating

Choice = Literal["first", "second", "neither", "skip"]

_RATINGS = "ratings of"
"""How the journal calls ratings, before the variant's name."""
_NET = Column(key="net", title="net preference", better="higher", share=True)


@dataclass(frozen=True)
class Pair:
    """Two answers to one question, one of them with the variant's prompts, in the order in which they are shown."""

    variant: str
    first: Answer
    second: Answer

    @property
    def id(self) -> str:
        """What the pair is called where nobody may read which answer is which: other texts have another one."""
        return digest([self.variant, self.first.item, self.first.shown, self.second.shown])


class Ratings:
    """The pairs of a comparison and their ratings, which the journal keeps as they are given.

    `names` are the sets of prompts, the base first. The order of the pairs and of the two answers of each is drawn
    with the seed, and stays what it is when questions are added.
    """

    def __init__(self, journal: Journal, answers: Sequence[Answer], names: Sequence[str], seed: int) -> None:
        self._journal = journal
        self._base, *self._variants = names
        self._by_place = {(answer.item, answer.prompts): answer for answer in answers}
        self._items = sorted({answer.item for answer in answers})
        self._seed = seed

    def pairs(self) -> list[Pair]:
        """Those that can be told apart, in the order in which they are shown."""
        drawn = [
            (derive_seed(self._seed, "pair", variant, item), self._pair(variant, item))
            for variant in self._variants
            for item in self._items
            if self._state(variant, item) == "open"
        ]
        return [pair for _, pair in sorted(drawn, key=lambda each: each[0])]

    def waiting(self) -> list[Pair]:
        """Those that nobody has rated."""
        return [pair for pair in self.pairs() if self._journal.get(_kept_as(pair.variant), pair.first.item) is None]

    def nothing_waits(self) -> str:
        """Why nobody has to rate any more, where that is so."""
        return "Every pair has its rating." if self.pairs() else "There is no pair of answers that differ."

    def rate(self, pair: Pair, choice: Choice) -> None:
        """Keep a rating; of two for the same pair the later one counts."""
        self._journal.replace(_kept_as(pair.variant), pair.first.item, self._rating(pair, choice).model_dump())

    def take(self, choices: Mapping[str, Choice]) -> tuple[int, int]:
        """Rate pairs by their ids, all of them or none.

        Returns:
            How many ratings are new, and how many are in place of other ones that were there.

        Raises:
            InputError: there is no such pair.
        """
        pairs = {pair.id: pair for pair in self.pairs()}
        if unknown := len(choices.keys() - pairs.keys()):
            raise InputError(
                f"{unknown} of the {len(choices)} rated pairs cannot be found among the answers of this comparison; "
                "take as many questions as were rated, or rate again in its page."
            )
        before = {(rating.variant, rating.item): rating for rating in self.given()}
        new = changed = 0
        for name, choice in choices.items():
            pair = pairs[name]
            there = before.get((pair.variant, pair.first.item))
            if there == self._rating(pair, choice):
                continue
            new, changed = new + (there is None), changed + (there is not None)
            self.rate(pair, choice)
        return new, changed

    @staticmethod
    def _rating(pair: Pair, choice: Choice) -> Rating:
        preferred = {"first": pair.first.prompts, "second": pair.second.prompts}.get(choice)
        return Rating(
            item=pair.first.item,
            variant=pair.variant,
            first=pair.first.prompts,
            preferred=preferred,
            skipped=choice == "skip",
        )

    def given(self) -> list[Rating]:
        """All ratings, by variant and question."""
        kept = (self._journal.get(_kept_as(variant), item) for variant in self._variants for item in self._items)
        return [Rating.model_validate(rating) for rating in kept if rating is not None]

    def preferences(self) -> list[Preference]:
        """What the ratings say of each variant that has one; empty where nobody has rated anything."""
        given = self.given()
        return [
            self._preference(variant, {rating.item: rating for rating in given if rating.variant == variant})
            for variant in (self._variants if given else ())
        ]

    def _pair(self, variant: str, item: int) -> Pair:
        answers = [self._by_place[item, name] for name in (self._base, variant)]
        if derive_seed(self._seed, "order", variant, item) % 2:
            answers.reverse()
        return Pair(variant, *answers)

    def _state(self, variant: str, item: int) -> Literal["open", "equal", "failed"]:
        pair = [self._by_place.get((item, name)) for name in (self._base, variant)]
        shown = [answer.shown.strip() for answer in pair if answer is not None and answer.error is None]
        if len(shown) < 2:
            return "failed"
        return "equal" if shown[0] == shown[1] else "open"

    def _preference(self, variant: str, given: dict[int, Rating]) -> Preference:
        states = {item: self._state(variant, item) for item in self._items}
        points = {item: 0 for item, state in states.items() if state == "equal"}
        told = {item: rating for item, rating in given.items() if not rating.skipped}
        points |= {
            item: 0 if rating.preferred is None else 1 if rating.preferred == variant else -1
            for item, rating in told.items()
        }
        net, questions = self._net(points)
        scores = [points[item] for item in told]
        verdict = verdict_of(net, higher_is_better=True, same=not any(points.values()), questions=questions)
        counted = Preference(
            variant=variant,
            base=self._base,
            wins=scores.count(1),
            losses=scores.count(-1),
            ties=scores.count(0),
            equal=list(states.values()).count("equal"),
            skipped=sum(rating.skipped for rating in given.values()),
            failed=list(states.values()).count("failed"),
            left=list(states.values()).count("open") - len(given),
            net=net,
            verdict=verdict,
            sentence="",
        )
        return counted.model_copy(update={"sentence": _sentence(counted, questions)})

    def _net(self, points: dict[int, int]) -> tuple[Figure, int]:
        """The mean of the points with its interval, and over how many questions it is."""
        items = sorted(points)
        asked = {answer.item: answer.question for answer in self._by_place.values()}
        questions = Grouping(asked[item] for item in items)
        features = np.array([[points[item], 1] for item in items], dtype=np.float64).reshape(-1, 2)
        drawn = Draw(self._seed, clusters=questions.of_items()).of(features)
        figure = drawn.figure(ratio(0, 1), n=len(items), difference=True, share=True, clusters=questions.count)
        return figure, questions.count


def _kept_as(variant: str) -> str:
    return f"{_RATINGS} {variant}"


def _sentence(told: Preference, questions: int) -> str:
    variant, base = told.variant, told.base
    verdict = {
        "better": f"{variant} is preferred to {base}",
        "worse": f"{base} is preferred to {variant}",
        "same": f"No difference between {variant} and {base}: no pair was decided for either",
        "unclear": f"No clear difference between {variant} and {base}: the interval holds zero",
        "too few questions": f"{variant} cannot be told from {base} with fewer than {CLEAR_FROM} questions",
        "no value": f"Nothing can be said of {variant} and {base}: no pair was rated",
    }[told.verdict]
    counts = {
        "wins": told.wins,
        "losses": told.losses,
        "ties": told.ties,
        "equal answers": told.equal,
        "skipped": told.skipped,
        "failed": told.failed,
        "not rated yet": told.left,
    }
    always = ("wins", "losses", "ties")
    said = ", ".join(f"{count} {what}" for what, count in counts.items() if count or what in always)
    if told.net.value is None:
        return f"{verdict}. {variant}: {said}."
    net = figure_text(told.net, number_format(_NET, [told.net]))
    plus = "+" if told.net.value > 0 and not net.value.startswith("+") else ""
    return (
        f"{verdict}. {variant}: {said}; net preference {plus}{net.value} {net.interval}".rstrip()
        + f", n = {told.net.n} pairs of {questions} question{'s' * (questions != 1)}."
    )
