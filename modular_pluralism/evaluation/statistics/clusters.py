"""Which items belong together: those of a group, and those that ask the same question."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.statistics.figures import Mask

AnItem = TypeVar("AnItem", bound=Item)


class Grouping:
    """The group of every item, for one way to group them."""

    def __init__(self, groups: Iterable[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        self._of_items = array("q")
        for group in groups:
            self.add(group)

    @property
    def count(self) -> int:
        """Of distinct groups."""
        return len(self._numbers)

    def add(self, group: str) -> None:
        """One more item."""
        self._of_items.append(self._numbers.setdefault(group, len(self._numbers)))

    def of_items(self) -> NDArray[np.int64]:
        """The number of each item's group, [n_items]."""
        return np.array(self._of_items, dtype=np.int64)

    def masks(self) -> dict[str, Mask]:
        """By group, in alphabetical order, which items are in it."""
        return {group: self.of_items() == self._numbers[group] for group in sorted(self._numbers)}


def question_of(item: Item) -> str:
    """The item's question, as its situation tells; as a hash, since there may be many."""
    return hashlib.blake2b(item.situation.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def by_question(items: Iterable[Item]) -> Grouping:
    """These items, grouped by what they ask."""
    return Grouping(map(question_of, items))


def halve(items: Sequence[AnItem], seed: int) -> tuple[list[AnItem], list[AnItem]]:
    """Half of the questions to train on, drawn with the seed, and the other half to hold back, each with all of its
    items in their order; so that no item of one half asks what one of the other asks.

    Raises:
        InputError: the items ask fewer than two questions.
    """
    questions = by_question(items)
    if questions.count < 2:
        raise InputError(f"Half of the questions are held back, and the items ask only {questions.count}; use more.")
    numbers = list(range(questions.count))
    random.Random(seed).shuffle(numbers)
    training = np.isin(questions.of_items(), numbers[: len(numbers) // 2])
    return (
        [item for item, mine in zip(items, training, strict=True) if mine],
        [item for item, mine in zip(items, training, strict=True) if not mine],
    )
