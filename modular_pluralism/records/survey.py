"""Survey answers: one row for each question and population, with the share of every option."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from modular_pluralism.errors import TrainingDataError
from modular_pluralism.option_math import MOST_OPTIONS, letters, normalise
from modular_pluralism.records.populations import population
from modular_pluralism.records.question_text import without_options
from modular_pluralism.records.rows import Row

TOLERANCE = 1e-3
"""How far from 1 a distribution may sum."""

DISTRIBUTIONS = ("distribution", "gold_distribution")
"""The fields that may hold shares."""


class SurveyItem(NamedTuple):
    """A question as a population answered it.

    `attribute` is the population as a model is told of it, or None; `distribution` [n_options] sums to 1; `answers` is
    how many single answers it was counted from, with their weights, or None where the data had the distribution.
    """

    question: str
    options: tuple[str, ...]
    attribute: str | None
    distribution: tuple[float, ...]
    answers: float | None = None


class OpenQuestion(NamedTuple):
    """A question with its options, which nobody has answered yet."""

    question: str
    options: tuple[str, ...]


def open_questions(rows: Iterable[Row]) -> list[OpenQuestion]:
    """The questions of the rows, each once, whatever answers stand beside them, and however spaces, case and the order
    of options differ.

    Raises:
        TrainingDataError: a row lacks its question or its options. Names the row.
    """
    found: dict[tuple[str, frozenset[str]], OpenQuestion] = {}
    for row in rows:
        options = _options(row)
        question = _alone(_text(row, "question"), options)
        found.setdefault((plain(question), frozenset(map(plain, options))), OpenQuestion(question, options))
    return list(found.values())


def plain(text: str) -> str:
    """A text as texts are compared: without case, and with one space for any."""
    return " ".join(text.casefold().split())


def is_survey(rows: Sequence[Row]) -> bool:
    """Whether the rows are survey answers, and not texts."""
    return any("question" in row.fields for row in rows)


def survey_items(rows: Sequence[Row], attribute: str = "attribute") -> list[SurveyItem]:
    """The rows as items to learn from: as `answered_items` has them, and with something to tell apart.

    Raises:
        TrainingDataError: as there, or the options of a question differ between rows, or every row says the same.
    """
    items = answered_items(rows, attribute, one_set=True)
    if len({(item.question, item.distribution, item.attribute) for item in items}) == 1 and len(rows) > 1:
        what = "Every row says the same" if items[0].answers is None else "All rows are answers to one question"
        raise TrainingDataError(f"{what}; give different questions with the answers to them.")
    return items


def answered_items(rows: Iterable[Row], attribute: str = "attribute", *, one_set: bool = False) -> list[SurveyItem]:
    """The rows as items, read one by one; single answers to one question by one population are added up.

    A row has `question`, `options`, and either `distribution` (or `gold_distribution`) or `answer` (an option, or its
    letter) with an optional `weight`; the column `attribute` names the population. In CSV a list is JSON, or its
    entries with "|" between them. Lettered options at the end of the question are taken off.

    Raises:
        TrainingDataError: a row lacks a field, or has one that cannot be; a distribution does not sum to 1; with
            `one_set`, the options of a question differ between rows. Names the row.
    """
    items: list[SurveyItem] = []
    counted: dict[tuple[str, tuple[str, ...], str | None], list[float]] = {}
    options_of: dict[tuple[str, frozenset[str] | None], tuple[tuple[str, ...], str]] = {}
    for row in rows:
        options = _options(row)
        question = _alone(_text(row, "question"), options)
        key = (question, None if one_set else frozenset(options))
        known, first = options_of.setdefault(key, (options, row.source))
        if sorted(known) != sorted(options):
            raise TrainingDataError(
                f"{row.source}: the options of this question differ from those of {first}; give all rows of one "
                "question the same options."
            )
        group = _attribute(row, attribute)
        if any(name in row.fields for name in DISTRIBUTIONS):
            items.append(SurveyItem(question, options, group, _distribution(row, len(options))))
        else:
            # In the order of the question's first row, so that answers add up however a row lists the options.
            counts = counted.setdefault((question, known, group), [0.0] * len(known))
            counts[known.index(_answer(row, options))] += _weight(row)
    items += [_counted(key, counts) for key, counts in counted.items()]
    return items


@lru_cache(maxsize=4096)
def _alone(question: str, options: tuple[str, ...]) -> str:
    """Of single answers, thousands of rows have the same question."""
    return without_options(question, options)[0]


def _counted(key: tuple[str, tuple[str, ...], str | None], counts: list[float]) -> SurveyItem:
    question, options, attribute = key
    try:
        shares = normalise(counts)
    except ValueError:
        raise TrainingDataError(
            f"All answers to {question[:60]!r} have the weight 0; give one of them a weight above 0."
        ) from None
    return SurveyItem(question, options, attribute, tuple(shares), math.fsum(counts))


def _text(row: Row, field: str) -> str:
    value = row.fields.get(field)
    if not isinstance(value, str) or not value.strip():
        raise TrainingDataError(f"{row.source}: there is no text under {field!r}; add it.")
    return value


def _attribute(row: Row, column: str) -> str | None:
    value = row.fields.get(column)
    return None if value is None else population(str(value).strip())


def _options(row: Row) -> tuple[str, ...]:
    values = _list(row, "options")
    if len(values) == 1 or len(values) > MOST_OPTIONS:
        raise TrainingDataError(f"{row.source}: there are {len(values)} options; give 2 to {MOST_OPTIONS}.")
    options = tuple(str(value).strip() for value in values)
    if not all(options) or len({option.casefold() for option in options}) < len(options):
        raise TrainingDataError(f"{row.source}: an option is empty or there twice; give different options.")
    return options


def _list(row: Row, field: str) -> Sequence[Any]:
    value = row.fields.get(field)
    if isinstance(value, str):
        value = _parsed_list(value)
    if not isinstance(value, list | tuple) or not value:
        raise TrainingDataError(
            f"{row.source}: there is no list under {field!r}; write a JSON list, or '|' between its entries."
        )
    return value


@lru_cache(maxsize=4096)
def _parsed_list(text: str) -> tuple[Any, ...]:
    """Of single answers, most rows have the same options."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    return tuple(value) if isinstance(value, list) else tuple(part.strip() for part in text.split("|"))


def _distribution(row: Row, count: int) -> tuple[float, ...]:
    field = next(name for name in DISTRIBUTIONS if name in row.fields)
    shares = [_number(value, row, field) for value in _list(row, field)]
    if len(shares) != count:
        raise TrainingDataError(
            f"{row.source}: {field} has {len(shares)} shares for {count} options; give one for each option."
        )
    total = math.fsum(shares)
    if abs(total - 1) > TOLERANCE or min(shares) < 0:
        raise TrainingDataError(
            f"{row.source}: {field} sums to {total:.4g} and has {min(shares):.4g} as its smallest share; give "
            "shares of at least 0 that sum to 1."
        )
    return tuple(share / total for share in shares)


def _answer(row: Row, options: tuple[str, ...]) -> str:
    if "answer" not in row.fields:
        raise TrainingDataError(f"{row.source}: there is neither a distribution nor an answer; add one of the two.")
    said = str(row.fields["answer"]).strip()
    for option in options:
        if option.casefold() == said.casefold():
            return option
    letter = re.fullmatch(r"\(?([A-Za-z])[.):]?", said)
    labels = letters(len(options))
    if letter is None or letter[1].upper() not in labels:
        raise TrainingDataError(
            f"{row.source}: the answer {said[:60]!r} is none of the options; write an option, or its letter."
        )
    return options[labels.index(letter[1].upper())]


def _weight(row: Row) -> float:
    weight = _number(row.fields.get("weight", 1.0), row, "weight")
    if weight < 0:
        raise TrainingDataError(f"{row.source}: the weight {weight:g} is below 0; give one of at least 0.")
    return weight


def _number(value: object, row: Row, field: str) -> float:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TrainingDataError(f"{row.source}: {field} has {str(value)[:40]!r}, which is no finite number; mend it.")
    return number
