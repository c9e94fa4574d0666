"""How far a format's predictions are from the original's."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from llama_cpp import Llama
from pydantic import BaseModel, ConfigDict

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.llama.reading import LogProbs
from modular_pluralism.llama.sampling import log_normaliser

WINDOW = 64
"""Tokens of each text that is compared."""
POSITIONS = 32
"""Positions compared in each text: the last ones, so that each is predicted from 33 tokens or more."""
_DRAWS = 2000
_NORMAL_95 = 1.959964


class Agreement(BaseModel):
    """Next-token predictions of a candidate against the original's, on the same positions of a fixed text.

    `top1` is the share of positions at which both have the same likeliest token; its 95 % interval is Wilson's.
    `mean_kl` is the mean Kullback-Leibler divergence KL(original || candidate) over the whole vocabulary, in nats; its
    95 % interval is a bootstrap over the texts, since positions side by side are not independent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    positions: int
    top1: float
    top1_interval: tuple[float, float]
    mean_kl: float
    mean_kl_interval: tuple[float, float]


def read_predictions(path: Path, texts: Sequence[Sequence[int]], threads: int | None = None) -> list[LogProbs]:
    """Log-probabilities of the next token at the last POSITIONS of each text: float32 [POSITIONS, n_vocab] a text.

    Each text is decoded by itself, so the same file gives the same predictions every time.

    Raises:
        ModelLoadError: llama.cpp cannot load the file.
    """
    count = threads or usable_cores()
    room = max(map(len, texts))
    try:
        # Not the engine, which reads the last position of a prompt only: here all come from one decode.
        model = Llama(
            str(path), n_ctx=room, n_batch=room, n_threads=count, n_threads_batch=count, flash_attn=True,
            logits_all=True, verbose=False,
        )  # fmt: skip
    except ValueError as error:
        raise ModelLoadError(f"{path.name} cannot be loaded ({error}); use a complete GGUF of a text model.") from error
    with contextlib.closing(model):
        return [_predictions(model, text) for text in texts]


def _predictions(model: Llama, text: Sequence[int]) -> LogProbs:
    model.reset()
    model.eval(text)
    logits: LogProbs = model.scores[len(text) - POSITIONS : len(text)]
    normalisers = [log_normaliser(row) for row in logits]
    return logits - np.array(normalisers, dtype=np.float32)[:, np.newaxis]


def compare(original: Sequence[LogProbs], candidate: Sequence[LogProbs]) -> Agreement:
    """The agreement of two readings of the same windows, each float32 [positions, n_vocab] with natural logs."""
    pairs = list(zip(original, candidate, strict=True))
    divergences = [_divergence(one, other) for one, other in pairs]
    same = sum(int(np.count_nonzero(one.argmax(axis=1) == other.argmax(axis=1))) for one, other in pairs)
    positions = sum(map(len, divergences))
    means = np.array([each.mean() for each in divergences])
    return Agreement(
        positions=positions,
        top1=same / positions,
        top1_interval=wilson(same, positions),
        mean_kl=float(np.concatenate(divergences).mean()),
        mean_kl_interval=_bootstrap(means),
    )


def _divergence(original: LogProbs, candidate: LogProbs) -> npt.NDArray[np.float64]:
    """KL(original || candidate) of each row, in nats."""
    one, other = original.astype(np.float64), candidate.astype(np.float64)
    with np.errstate(invalid="ignore"):  # where both say minus infinity, which adds nothing
        terms = np.where(np.isneginf(one), 0.0, np.exp(one) * (one - other))
    # Rounding may leave a little less than nothing.
    return np.asarray(np.maximum(terms.sum(axis=1), 0.0), dtype=np.float64)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, square = hits / of, _NORMAL_95**2
    centre = (share + square / (2 * of)) / (1 + square / of)
    half = _NORMAL_95 / (1 + square / of) * float(np.sqrt(share * (1 - share) / of + square / (4 * of * of)))
    return max(0.0, centre - half), min(1.0, centre + half)


def _bootstrap(means: npt.NDArray[np.float64]) -> tuple[float, float]:
    random = np.random.default_rng(0)
    drawn = random.choice(means, (_DRAWS, len(means))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
