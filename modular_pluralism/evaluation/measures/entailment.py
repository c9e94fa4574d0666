"""How far a text entails a sentence: what every measure of it offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

PAPER_MODEL = "microsoft/deberta-v2-xlarge-mnli"
"""The classifier of the paper (section 4)."""

COVERED = 0.33
"""An item counts as covered where the mean of its values' scores is above this (section 4)."""


@dataclass
class Counts:
    """What a report has to know of the scores: texts that had to be `cut`, and the summed label mass of `readings`."""

    cut: int = 0
    mass: float = 0.0
    readings: int = 0

    def add(self, other: Counts) -> None:
        """Count the other's as well."""
        self.cut += other.cut
        self.mass += other.mass
        self.readings += other.readings


class EntailmentMeasure(Protocol):
    """Scores how far the first text of a pair entails the second."""

    @property
    def name(self) -> str:
        """What the measure is called in tables."""

    def note(self, counts: Counts) -> str:
        """What a report has to say about it, in whole sentences: that it is not the paper's measure, where it is not,
        and what the counts tell; empty where there is nothing to say."""

    async def scores(self, pairs: Sequence[tuple[str, str]], counts: Counts | None = None) -> list[float]:
        """A score between 0 and 1 for each pair, in their order. What is to be counted is added to `counts`.

        Raises:
            ModelCallError: a model gave no usable scores.
        """
