"""The record of a community: its answered questions, searched for those that tell how it would answer another one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.errors import NoEvidenceError
from modular_pluralism.records.populations import population
from modular_pluralism.records.similarity import Arrays, Floats, Similarity
from modular_pluralism.records.survey import SurveyItem, plain
from modular_pluralism.types import Evidence, RecordedAnswer, ToldAnswer

QUESTION, _OPTIONS, _POPULATION = 8.0, 12.0, 5.0
"""How much a question that is alike counts, options that are alike, and the same population, in a weight's logarithm.
Chosen on GlobalOpinionQA's training part and one Polis conversation; see docs/records.md."""
_TOLD = 5
"""Answers that evidence names."""


class Estimated(NamedTuple):
    """A distribution over the asked options [n_options], and what it rests on."""

    distribution: list[float]
    evidence: Evidence


class _Rows(NamedTuple):
    """The answers with equally many options: [n_rows] of each, `shares` [n_rows, n_options], and the option sets of
    that size, `sets` [n_sets], with their texts' numbers, `texts` [n_sets, n_options]; `place` is a row's set there."""

    question: NDArray[Any]
    population: NDArray[Any]
    shares: Floats
    place: NDArray[Any]
    sets: NDArray[Any]
    texts: NDArray[Any]


class _Fit(NamedTuple):
    """Rows whose options fit the asked ones: `order` [n_sets, n_asked] says where each asked option stands in a set,
    `fits` [n_sets] which sets fit at all, and `by_text` [n_sets] in which every asked option's text stands."""

    rows: _Rows
    order: NDArray[Any]
    fits: NDArray[Any]
    by_text: NDArray[Any]


class CommunityRecord:
    """Answered questions with an index of their texts and of their options'. A search changes nothing, so that threads
    may share one."""

    def __init__(self, items: Iterable[SurveyItem], similarity: Similarity, known: Arrays | None = None) -> None:
        """`known` are an earlier record's `arrays`, of which an index may take over what it has.

        Raises:
            ModelLoadError: a library or a model that the similarity needs is not there.
        """
        questions, options, populations = _Numbers(), _Numbers(), _Numbers()
        rows: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        shares: dict[int, list[tuple[float, ...]]] = defaultdict(list)
        for item in items:
            count = len(item.options)
            who = -1 if item.attribute is None else populations.of(item.attribute)
            rows[count].append((questions.of(item.question), options.of(item.options), who))
            shares[count].append(item.distribution)
        numbers = {count: (np.array(rows[count], np.int32), np.array(shares[count])) for count in sorted(rows)}
        self._fill(questions.known, options.known, populations.known, numbers)
        parts: list[Arrays | None] = [_part(known, "questions/"), _part(known, "options/")] if known else [None, None]
        self._of_questions = similarity.index(self.questions, parts[0])
        self._of_options = similarity.index(_listed(self._options), parts[1])
        self.gate = similarity.gate

    def _fill(
        self,
        questions: Sequence[str],
        options: Sequence[Sequence[str]],
        populations: Sequence[str],
        numbers: Mapping[int, tuple[NDArray[Any], Floats]],
    ) -> None:
        self.questions = list(questions)
        self._options = [tuple(each) for each in options]
        self._populations = list(populations)
        self._asked_before: dict[str, list[int]] = defaultdict(list)
        for number, question in enumerate(questions):
            self._asked_before[plain(question)].append(number)
        self._population = {plain(name): place for place, name in enumerate(populations)}
        self._texts = _Numbers()
        self._numbers = numbers
        self._rows: dict[int, _Rows] = {}
        for count, (columns, shares) in numbers.items():
            sets, place = np.unique(columns[:, 1], return_inverse=True)
            texts = [[self._texts.of(plain(text)) for text in self._options[each]] for each in sets]
            self._rows[count] = _Rows(columns[:, 0], columns[:, 2], shares, place, sets, np.array(texts, np.int32))

    @property
    def answers(self) -> int:
        """How many distributions it holds: one for each question and population."""
        return sum(len(rows.question) for rows in self._rows.values())

    def arrays(self) -> Arrays:
        """All that `restored` needs, as plain arrays."""
        texts = json.dumps([self.questions, self._options, self._populations]).encode()
        kept: dict[str, NDArray[Any]] = {"texts": np.frombuffer(texts, np.uint8)}
        for count, (columns, shares) in self._numbers.items():
            kept |= {f"rows/{count}": columns, f"shares/{count}": shares}
        for name, index in (("questions", self._of_questions), ("options", self._of_options)):
            kept |= {f"{name}/{key}": array for key, array in index.arrays().items()}
        return kept

    @classmethod
    def restored(cls, arrays: Arrays, similarity: Similarity) -> CommunityRecord | None:
        """The record that was kept as these arrays; None where its index has to be made anew. Raises as the
        constructor does."""
        record = cls.__new__(cls)
        counts = sorted(int(key.removeprefix("rows/")) for key in arrays if key.startswith("rows/"))
        numbers = {count: (arrays[f"rows/{count}"], arrays[f"shares/{count}"]) for count in counts}
        questions, options, populations = json.loads(arrays["texts"].tobytes())
        record._fill(questions, options, populations, numbers)
        of_questions = similarity.restored(record.questions, _part(arrays, "questions/"))
        of_options = similarity.restored(_listed(record._options), _part(arrays, "options/"))
        if of_questions is None or of_options is None:
            return None
        record._of_questions, record._of_options, record.gate = of_questions, of_options, similarity.gate
        return record

    def estimate(
        self, question: str, options: Sequence[str], attribute: str | None = None, *, itself: bool = True
    ) -> Estimated:
        """How these people would answer, from what they have answered to questions that are like this one.

        A kernel estimate: the mean of the answers with options that fit, each with the weight
        exp(8 s + 12 t + 5 [same population]), where s is how alike the questions are, and t the options.
        Options fit by their texts, and those whose texts are not there by their order; of an answer with more options
        than are asked, those count that are, where all of them are there. Where the question itself is in the record,
        its own answers are all that counts.

        Args:
            question: The question.
            options: Its options, two or more.
            attribute: The population that is asked about, or None.
            itself: Whether answers to the question itself may be used.

        Raises:
            NoEvidenceError: no answer has options that fit.
        """
        fits = list(self._fitting(options))
        same = self._asked_before.get(plain(question), [])
        of_questions = self._of_questions.similarities(question)
        of_options = self._of_options.similarities(" ".join(options))
        who = None if attribute is None else self._population.get(plain(population(attribute) or ""))
        found = [self._weighed(fit, of_questions, of_options, who) for fit in fits]
        own = [part.only(np.isin(part.question, same) & part.by_text) for part in found] if same and itself else []
        if same and not itself:
            found = [part.only(~np.isin(part.question, same)) for part in found]
        is_itself = any(len(part.question) for part in own)
        whole = _Weighed.joined(own if is_itself else found)
        if is_itself and who is not None and (whole.population == who).any():
            whole = whole.only(whole.population == who)
        if not len(whole.question):
            raise NoEvidenceError(
                f"None of the {len(self.questions)} questions of its record has options that fit these "
                f"{len(options)}: neither as many, nor all of them among others."
            )
        weights = np.exp(whole.score - whole.score.max())
        weights /= weights.sum()
        nearness = 1.0 if is_itself else min(1.0, float(of_questions[whole.question].max()))
        evidence = Evidence(
            nearness=nearness,
            opening=self.gate.opening(nearness),
            itself=is_itself,
            answers=self._told(whole, weights, of_questions),
        )
        shares: list[float] = (weights @ whole.shares).tolist()
        return Estimated(shares, evidence)

    def nearest(self, question: str, *, itself: bool = True, most: int = _TOLD) -> list[ToldAnswer]:
        """What these people have answered to the questions that are the most like this one, whatever their options.

        Only questions for which the gate is open, at least a little, are near enough. A question is there once for each
        set of options that it was asked with, and its shares are the mean over the populations: whoever is told them
        speaks for all of these people.

        Args:
            question: The question.
            itself: Whether the question itself may be among them.
            most: How many at most.

        Returns:
            The answers, the nearest question's first; none where no question is near enough.
        """
        alike = self._of_questions.similarities(question)
        same = set(self._asked_before.get(plain(question), []))
        if same:  # another case or another space makes no other question
            alike = np.array(alike, copy=True)
            alike[list(same)] = 1.0
        near = [
            place
            for place in np.argsort(-alike, kind="stable")[: most + len(same)].tolist()
            if self.gate.opening(float(alike[place])) > 0 and (itself or place not in same)
        ]
        told: list[ToldAnswer] = []
        for place in near:
            for options, shares in self._answers_to(place):
                told.append(
                    ToldAnswer(
                        question=self.questions[place],
                        options=list(options),
                        probabilities=shares.mean(axis=0).tolist(),
                        populations=len(shares),
                        similarity=min(1.0, float(alike[place])),
                        itself=place in same,
                    )
                )
        return told[:most]

    def _answers_to(self, question: int) -> Iterable[tuple[Sequence[str], Floats]]:
        """The sets of options that a question was asked with, and all shares that were given: [n_rows, n_options]."""
        for rows in self._rows.values():
            chosen = np.flatnonzero(rows.question == question)
            for place in np.unique(rows.place[chosen]):
                yield self._options[rows.sets[place]], rows.shares[chosen[rows.place[chosen] == place]]

    def has(self, question: str, options: Sequence[str]) -> bool:
        """Whether it holds answers to this very question, which then are all that its estimate rests on."""
        if plain(question) not in self._asked_before:
            return False
        try:
            return self.estimate(question, options).evidence["itself"]
        except NoEvidenceError:
            return False

    def _fitting(self, options: Sequence[str]) -> Iterable[_Fit]:
        asked = np.array([self._texts.known_as(plain(option)) for option in options], np.int32)
        count = len(options)
        for size, rows in self._rows.items():
            if size < count:
                continue
            same = rows.texts[:, None, :] == asked[None, :, None]  # [n_sets, n_asked, size]
            by_text = same.any(2).all(1)
            if size > count:
                yield _Fit(rows, same.argmax(2), by_text, by_text)
                continue
            order = np.tile(np.arange(count), (len(same), 1))
            moved = same.any((1, 2)) & ~np.diagonal(same, axis1=1, axis2=2).all(1)
            for place in np.flatnonzero(moved):
                order[place] = _matched(same[place])
            yield _Fit(rows, order, np.ones(len(same), bool), by_text)

    def _weighed(self, fit: _Fit, of_questions: Floats, of_options: Floats, who: int | None) -> _Weighed:
        rows = fit.rows
        chosen = slice(None) if fit.fits.all() else np.flatnonzero(fit.fits[rows.place])
        question, people, place = rows.question[chosen], rows.population[chosen], rows.place[chosen]
        score = QUESTION * of_questions[question] + _OPTIONS * of_options[rows.sets][place]
        if who is not None:
            score = score + _POPULATION * (people == who)
        shares = rows.shares[chosen]
        asked = fit.order.shape[1]
        if asked < shares.shape[1] or (fit.order != np.arange(asked)).any():
            shares = np.take_along_axis(shares, fit.order[place], axis=1)
        whole = _Weighed(question, people, rows.sets[place], shares, score, fit.by_text[place])
        total = shares.sum(axis=1)
        if shares.shape[1] == rows.shares.shape[1]:
            return whole
        # Of those who chose one of the asked options, where anybody did.
        return whole._replace(shares=shares / np.maximum(total, 1e-12)[:, None]).only(total > 0)

    def _told(self, whole: _Weighed, weights: Floats, of_questions: Floats) -> list[RecordedAnswer]:
        most = min(_TOLD, len(weights))
        top = np.argpartition(-weights, most - 1)[:most]
        return [
            RecordedAnswer(
                question=self.questions[whole.question[row]],
                options=list(self._options[whole.options[row]]),
                attribute=None if whole.population[row] < 0 else self._populations[whole.population[row]],
                probabilities=whole.shares[row].tolist(),
                similarity=min(1.0, float(of_questions[whole.question[row]])),
                weight=float(weights[row]),
            )
            for row in top[np.argsort(-weights[top], kind="stable")]
        ]


class _Weighed(NamedTuple):
    """Rows that an estimate is made of, [n] of each; `shares` [n, n_asked] stand in the asked options' order, and
    `score` is the logarithm of a weight."""

    question: NDArray[Any]
    population: NDArray[Any]
    options: NDArray[Any]
    shares: Floats
    score: Floats
    by_text: NDArray[Any]

    def only(self, chosen: NDArray[Any]) -> _Weighed:
        return _Weighed(*(column[chosen] for column in self))

    @classmethod
    def joined(cls, parts: Sequence[_Weighed]) -> _Weighed:
        if len(parts) == 1:
            return parts[0]
        if not parts:
            none = np.zeros(0, np.int32)
            return cls(none, none, none, np.zeros((0, 0)), np.zeros(0), np.zeros(0, bool))
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


class _Numbers:
    """Values by the numbers in which they were first seen."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        return self._places.setdefault(value, len(self._places))

    def known_as(self, value: Any) -> int:
        return self._places.get(value, -1)

    @property
    def known(self) -> list[Any]:
        return list(self._places)


def _matched(same: NDArray[Any]) -> list[int]:
    """Where each asked option stands in a set of as many: by its text, and the others in their order."""
    order = [int(row.argmax()) if row.any() else -1 for row in same]
    left = iter(place for place in range(len(order)) if place not in order)
    return [next(left) if place < 0 else place for place in order]


def _listed(options: Iterable[Sequence[str]]) -> list[str]:
    return [" ".join(each) for each in options]


def _part(arrays: Arrays, prefix: str) -> Arrays:
    return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
