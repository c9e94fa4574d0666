"""Which unanswered question to ask next: the one whose answer would tell the most of all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from modular_pluralism.errors import NoEvidenceError
from modular_pluralism.option_math import disagreement
from modular_pluralism.records.record import QUESTION, CommunityRecord
from modular_pluralism.records.similarity import Floats, Similarity
from modular_pluralism.records.survey import OpenQuestion

_NOTHING = 1e-9
"""A gain that is no more than what rounding leaves of two questions with the same words."""


class Asked(NamedTuple):
    """What the communities of a pool know of open questions, [n_communities, n_questions].

    `nearness` is how alike the nearest question of the record is (0 to 1), `known` whether the question itself is in
    there, and `disagreement` how far the community's vote is from its record, in nats; None where none has voted.
    """

    nearness: Floats
    known: Floats
    disagreement: Sequence[Sequence[float]] | None


class NextQuestion(NamedTuple):
    """A question to ask. `gain` is what an answer adds to what the records know of all open questions, on average,
    after answers to those before it (0 to 1); `nearness` and `disagreement` are the means over the communities, before
    anything is answered; `communities` are those that have not answered it."""

    question: str
    options: tuple[str, ...]
    gain: float
    nearness: float
    disagreement: float | None
    communities: tuple[str, ...]


def records_on(
    questions: Sequence[OpenQuestion], records: Sequence[CommunityRecord | None]
) -> tuple[Floats, Floats, list[list[list[float] | None]]]:
    """How near each record is to each question, whether it has it, and its estimate (None where nothing fits), as in
    `Asked`. A record that is None has no answers yet."""
    nearness = np.zeros((len(records), len(questions)))
    known = np.zeros_like(nearness)
    estimates: list[list[list[float] | None]] = [[None] * len(questions) for _ in records]
    for row, record in enumerate(records):
        if record is None:
            continue
        for column, each in enumerate(questions):
            try:
                found = record.estimate(each.question, each.options)
            except NoEvidenceError:
                continue
            nearness[row, column] = found.evidence["nearness"]
            known[row, column] = found.evidence["itself"]
            estimates[row][column] = found.distribution
    return nearness, known, estimates


def apart(vote: Sequence[float] | None, estimate: Sequence[float] | None) -> float:
    """How far a community's vote is from its record, as Jensen-Shannon divergence in nats; as far as can be, ln 2,
    where one of them says nothing."""
    return math.log(2) if vote is None or estimate is None else disagreement([vote, estimate], [0.5, 0.5])


def rank(
    questions: Sequence[OpenQuestion], communities: Sequence[str], asked: Asked, similarity: Similarity, most: int
) -> list[NextQuestion]:
    """The questions to ask, the one that tells the most first, and each of the others after what those before it have
    told; at most so many. Questions that every community has answered, and such as would tell nothing, are left out.

    An answer tells of its question, and of those like it, as much as it would weigh in their estimates: a record whose
    nearest question has the similarity s tells exp(8 s) - 1 of what an answer to the question itself would. The gain is
    the mean of what that adds, over questions and communities, each weighted by how far its vote is from its record
    where there are votes: where they agree, an answer would change little. Choosing one after the other comes within
    1 - 1/e of the best choice (Nemhauser, Wolsey and Fisher, 1978, since the gain is submodular).
    """
    alike = _telling(_alike(questions, similarity))
    nearness, weights = _telling(asked.nearness), _weights(asked)
    chosen: list[NextQuestion] = []
    left = [place for place in range(len(questions)) if not asked.known[:, place].all()]
    while left and len(chosen) < most:
        gains = np.array([_gain(nearness, weights, alike[place], asked.known[:, place]) for place in left])
        best = int(gains.argmax())
        if gains[best] <= _NOTHING:
            break
        place = left.pop(best)
        new = asked.known[:, place] == 0
        nearness[new] = np.maximum(nearness[new], alike[place])
        chosen.append(
            NextQuestion(
                question=questions[place].question,
                options=questions[place].options,
                gain=float(gains[best]),
                nearness=float(asked.nearness[:, place].mean()),
                disagreement=None
                if asked.disagreement is None
                else float(np.asarray(asked.disagreement)[:, place].mean()),
                communities=tuple(name for name, lacks in zip(communities, new, strict=True) if lacks),
            )
        )
    return chosen


def _telling(alike: Floats) -> Floats:
    """How much questions that are so much alike tell of each other, 0 to 1."""
    told: Floats = np.expm1(QUESTION * alike) / math.expm1(QUESTION)
    return told


def _gain(nearness: Floats, weights: Floats, alike: Floats, known: Floats) -> float:
    """Of an answer to a question that is so much `alike` the others [n_questions], by those who do not know it."""
    return float((weights * np.maximum(alike - nearness, 0.0) * (1 - known)[:, None]).mean())


def _weights(asked: Asked) -> Floats:
    """How much a question counts for a community: 1 on average."""
    distances = np.ones_like(asked.nearness) if asked.disagreement is None else np.asarray(asked.disagreement)
    return distances / distances.mean() if distances.any() else np.ones_like(asked.nearness)


def _alike(questions: Sequence[OpenQuestion], similarity: Similarity) -> Floats:
    """How alike each two questions are, [n_questions, n_questions]: 1 of one with itself, and 0 where the answers of
    the one would not fit the options of the other."""
    index = similarity.index([each.question for each in questions])
    alike = np.array([index.similarities(each.question) for each in questions])
    sets = list(dict.fromkeys(each.options for each in questions))
    place = np.array([sets.index(each.options) for each in questions])
    fits = np.array([[_fits(answered, other) for other in sets] for answered in sets])
    alike[~fits[np.ix_(place, place)]] = 0.0
    np.fill_diagonal(alike, 1.0)
    return alike


def _fits(answered: Sequence[str], other: Sequence[str]) -> bool:
    return len(answered) == len(other) or set(answered) >= set(other)


COLUMNS = ("question", "options", "community", "answer", "weight", "gain")
"""Of what is to be filled in."""


def survey_rows(questions: Iterable[NextQuestion]) -> list[Mapping[str, object]]:
    """The questions as rows of a survey file, one for each community that has not answered: `answer` is to be filled
    in, or the row repeated for each person's."""
    return [
        {
            "question": each.question,
            "options": "|".join(each.options),
            "community": name,
            "answer": "",
            "weight": "",
            "gain": f"{each.gain:.4f}",
        }
        for each in questions
        for name in each.communities
    ]
