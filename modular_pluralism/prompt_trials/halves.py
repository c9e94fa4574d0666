"""Two halves of a task's items that share no question: one to search with, and one held back to judge the result."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.statistics.collected import Questions


class Halves(NamedTuple):
    """Both in the task's order."""

    training: list[Item]
    held_back: list[Item]


def halve(items: Sequence[Item], seed: int) -> Halves:
    """Half of the questions, drawn with the seed, each with all of its items; so that no item of one half asks what
    one of the other asks.

    Raises:
        InputError: all items ask the same question.
    """
    questions = Questions()
    for item in items:
        questions.add(item)
    if questions.count < 2:
        raise InputError("All items ask the same question, and half of the questions have to be held back; use more.")
    of_items = questions.of_items()
    numbers = list(range(questions.count))
    random.Random(seed).shuffle(numbers)
    training = np.isin(of_items, numbers[: len(numbers) // 2])
    return Halves(
        [item for item, mine in zip(items, training, strict=True) if mine],
        [item for item, mine in zip(items, training, strict=True) if not mine],
    )
