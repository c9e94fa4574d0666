"""How far a text entails a sentence: what every measure offers, and the paper's, a classifier trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from modular_pluralism.errors import ModelCallError, ModelLoadError
from modular_pluralism.evaluation.measures.classifier import INSTEAD, Classifier

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


class NliEntailment:
    """The paper's measure: the probability that a classifier gives to the label ENTAILMENT (section 4).

    The value's explanation is the premise and the answer's sentence the hypothesis, as in the paper's release. The
    weights are read with 32 bits, as that did.
    """

    def __init__(self, source: str = PAPER_MODEL, *, device: str | None = None) -> None:
        """Load the classifier: `source` is a folder, or an id on the Hugging Face hub.

        `device` is torch's name for one, such as "cpu" or "cuda:0"; None takes a GPU where there is one.

        Raises:
            ModelLoadError: it cannot be loaded, or has no label ENTAILMENT.
        """
        self._model = Classifier.load(source, device=device)
        self._label = _entailment_label(self._model.config, source)
        self._source = source

    @property
    def name(self) -> str:
        """What the measure is called in tables."""
        return f"entailment by {self._model.name}"

    def note(self, counts: Counts) -> str:
        """Empty for the paper's classifier; otherwise what it is. Pairs that had to be cut are named."""
        said = []
        if Path(self._source).is_dir():
            said.append(
                f"The entailment classifier was given as the folder {self._model.name}; the paper's is {PAPER_MODEL}."
            )
        elif self._source != PAPER_MODEL:
            said.append(f"The paper measures entailment with {PAPER_MODEL}; this is another classifier.")
        if counts.cut:
            said.append(
                f"{counts.cut} pairs were longer than the {self._model.limit} tokens that the classifier reads, "
                "and were cut."
            )
        return " ".join(said)

    async def scores(self, pairs: Sequence[tuple[str, str]], counts: Counts | None = None) -> list[float]:
        """The probability of ENTAILMENT for each pair, as transformers' own pipeline gives it.

        Raises:
            ModelCallError: the classifier failed, or gave something that is no probability.
        """
        rows, cut = await self._model.rows(
            [text for text, _ in pairs],
            [sentence for _, sentence in pairs],
        )
        if counts is not None:
            counts.cut += cut
        found = [float(row[self._label]) for row in rows]
        if not all(0 <= score <= 1 for score in found):  # not a number, for one
            raise ModelCallError(f"{self._model.name} gave scores that are no probabilities; use another model.")
        return found


def _entailment_label(config: Any, source: str) -> int:
    """The number of the label ENTAILMENT, in whatever case."""
    labels: dict[int, str] = {int(number): str(label) for number, label in config.id2label.items()}
    found = [number for number, label in labels.items() if label.casefold() == "entailment"]
    if len(found) != 1 or len(labels) < 2 or config.problem_type not in (None, "single_label_classification"):
        raise ModelLoadError(
            f"{source} does not tell entailment from its contrary (its labels: {', '.join(labels.values())}); use a "
            f"classifier with a label ENTAILMENT such as {PAPER_MODEL}, {INSTEAD}."
        )
    return found[0]
