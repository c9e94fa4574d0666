"""Choosing the next token from logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import PCG64, Generator  # numpy would import it when the first token is drawn, on the event loop

from modular_pluralism.errors import InputError

Row = npt.NDArray[np.float32]
_ROWS = 64


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn: `top_k`, then `top_p`, then `min_p`, then `temperature`, as llama.cpp orders them.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1 and `min_p` 0 each switch that filter off.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InputError(f"temperature is {self.temperature}; use 0 (greedy) or more.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; use a number above 0 and at most 1.")
        if not 0 <= self.min_p <= 1:
            raise InputError(f"min_p is {self.min_p}; use a number from 0 to 1.")
        if self.top_k < 0:
            raise InputError(f"top_k is {self.top_k}; use 0 (off) or more.")


class Sampler:
    """Draws tokens for one sequence; the same settings and seed draw the same tokens from the same logits."""

    def __init__(self, settings: Sampling) -> None:
        self._settings = settings
        self._random = Generator(PCG64(settings.seed & 0xFFFFFFFFFFFFFFFF))

    def draw(self, logits: Row) -> int:
        """One token id. `logits`: float32, one per vocabulary entry."""
        settings = self._settings
        if settings.temperature == 0:
            return int(logits.argmax())
        tokens = likeliest(logits, settings.top_k or logits.size)
        chosen = logits[tokens].astype(np.float64)
        probabilities = _softmax(chosen)
        before = np.cumsum(probabilities) - probabilities
        keep = (before < settings.top_p) & (probabilities >= settings.min_p * probabilities[0])
        keep[0] = True
        with np.errstate(over="ignore"):  # a tiny temperature: minus infinity, and so a probability of 0
            cumulative = np.cumsum(_softmax((chosen[keep] - chosen[0]) / settings.temperature))
        index = int(np.searchsorted(cumulative, self._random.random() * cumulative[-1], side="right"))
        return int(tokens[keep][min(index, cumulative.size - 1)])


def likeliest(logits: Row, count: int) -> npt.NDArray[np.int64]:
    """The `count` tokens with the highest logits, highest first."""
    columns = logits.size // _ROWS
    if count == 0:
        return np.empty(0, dtype=np.int64)
    if count < columns:
        # The maxima of as many disjoint groups are at least as high as the lowest of them, and so nothing below it is
        # among the likeliest. This takes a quarter of the time of a partition of the whole vocabulary.
        maxima = logits[: _ROWS * columns].reshape(_ROWS, columns).max(axis=0)
        candidates = np.flatnonzero(logits >= np.partition(maxima, columns - count)[columns - count])
    else:
        candidates = np.arange(logits.size)
    return candidates[np.argsort(logits[candidates], kind="stable")[::-1][:count]]


def _softmax(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    exponentials = np.exp(values - values.max())
    return np.asarray(exponentials / exponentials.sum(), dtype=np.float64)


def log_normaliser(logits: Row) -> float:
    """log(sum(exp(logits))): subtract it from a logit to get that token's log-probability (natural log)."""
    highest = float(logits.max())
    return highest + float(np.log(np.exp(logits - highest).sum(dtype=np.float64)))
