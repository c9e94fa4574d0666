"""Looking for the voice settings under which a pool is nearest to answered questions, and taking only what pays.

What is minimised is the mean JS distance, by which a pool is judged; the communities' weights, of which there may be
many, are those of the largest likelihood, which has one best value. Each part of the settings is a small grid, and a
search goes through the parts in turn. Whether a part is to be fitted at all is decided by cross-validation within the
questions that may be fitted on: starting from the settings as they are, the part that gains most on left-out questions
is taken, and so on until none gains anything. Temperatures are taken only where their gain is clear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM
from modular_pluralism.priors.em import Floats, fit_weights
from modular_pluralism.priors.voices import HeardItems, VoiceSettings
from modular_pluralism.records.similarity import Gate
from modular_pluralism.types import Voice, VoicePooling

Part: TypeAlias = Literal["weights", "gate", "pooling", "temperatures"]
"""What may be fitted of voice settings."""

TEMPERATURES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
_SHARES = 20
"""A voice's weight is a multiple of one twentieth."""
_TENTHS = 10
"""So are the similarities of a gate of one tenth."""
_FOLDS = 5
CLEAR_ERRORS = 1.96
"""Standard errors from which a gain is clear."""
_UNLIKELY: tuple[Part, ...] = ("temperatures",)
"""What stays as it is unless its gain is clear: it says nothing of which voice to believe, and how sharp a voice is
changes with the questions."""
_SWEEPS = 6
_LEAST = 1e-6
"""JS distance: a sweep that gains less is the last."""
_ROUGH = 1e-5
"""The gap in nats an item that weights of communities may leave while settings are searched."""


@dataclass(frozen=True)
class Searched:
    """Settings with the communities' weights that go with them, and the mean JS distance of the items."""

    settings: VoiceSettings
    priors: Floats
    distance: float


@dataclass(frozen=True)
class Tried:
    """One part that cross-validation has tried beside those in `beside`: by how much smaller it makes the JS
    distance on questions that were left out, with its standard error over questions, and whether it was taken."""

    part: Part
    beside: tuple[Part, ...]
    gain: float
    error: float
    taken: bool


def parts_of(voices: Sequence[Voice]) -> tuple[Part, ...]:
    """What there is to fit where communities are heard by these voices, two or more."""
    return tuple(part for part in get_args(Part) if part != "gate" or "record" in voices)


def search(items: HeardItems, start: VoiceSettings, parts: Sequence[Part]) -> Searched:
    """The settings that come nearest to the real distributions, of those that differ from `start` in these parts, with
    the communities' weights that go with them. It goes part by part, in this order and from the last to the first:
    where a voice has lost its weight, nothing else of it can be fitted any more. The best is not certain."""
    orders = dict.fromkeys((tuple(parts), tuple(reversed(parts))))
    return min((_descent(items, start, order) for order in orders), key=lambda found: found.distance)


def _descent(items: HeardItems, start: VoiceSettings, parts: Sequence[Part]) -> Searched:
    best = _with_priors(items, start)
    for _ in range(_SWEEPS if parts else 0):
        before = best.distance
        for part in parts:
            best = _best_of(items, best, part)
        best = min(best, _with_priors(items, best.settings), key=lambda found: found.distance)
        if before - best.distance < _LEAST:
            break
    return best


def choose(items: HeardItems, start: VoiceSettings, *, seed: int) -> list[Tried]:
    """What cross-validation over questions says of each part, in the order in which they were tried; nothing where
    there are too few questions to tell."""
    if len(np.unique(items.question)) < CLEAR_FROM:
        return []
    folds = _folds(items.question, seed)
    left = list(parts_of(items.voices))
    taken: tuple[Part, ...] = ()
    tried: list[Tried] = []
    present = _left_out(items, start, taken, folds)
    while left:
        found = {part: _left_out(items, start, (*taken, part), folds) for part in left}
        best = min(left, key=lambda part: float(found[part].mean()))
        round_: list[Tried] = []
        for part in left:
            gain, error = clustered_mean(present - found[part], items.question)
            pays = gain > (CLEAR_ERRORS * error if part in _UNLIKELY else 0.0)
            round_.append(Tried(part, taken, gain, error, part == best and pays))
        tried += round_
        if not any(each.taken for each in round_):
            break
        taken, present = (*taken, best), found[best]
        left.remove(best)
    return tried


def clustered_mean(values: Floats, clusters: NDArray[np.int64]) -> tuple[float, float]:
    """The mean of `values` [n_items], and its standard error where the items of a cluster are no independent
    evidence."""
    mean = float(values.mean())
    sums = np.bincount(clusters, weights=values - mean)
    return mean, float(np.sqrt((sums**2).sum()) / len(values))


def _left_out(items: HeardItems, start: VoiceSettings, parts: Sequence[Part], folds: NDArray[np.int64]) -> Floats:
    """The JS distance of each item under settings that were fitted on the folds that it is not in [n_items]."""
    found = np.empty(items.count)
    for fold in np.unique(folds):
        out = folds == fold
        fitted = search(items.only(~out), start, parts)
        held = items.only(out)
        found[out] = held.distances(held.united(fitted.settings), fitted.priors)
    return found


def _folds(questions: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """The fold of each item [n_items]: all items of a question are in one."""
    numbers, places = np.unique(questions, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(len(numbers)) % _FOLDS
    of_items: NDArray[np.int64] = drawn[places]
    return of_items


def _best_of(items: HeardItems, found: Searched, part: Part) -> Searched:
    best = found
    for settings in _alternatives(items.voices, found.settings, part):
        distance = float(items.distances(items.united(settings), found.priors).mean())
        if distance < best.distance:
            best = Searched(settings, found.priors, distance)
    return best


def _with_priors(items: HeardItems, settings: VoiceSettings) -> Searched:
    priors = fit_weights(items.answered(settings), tolerance=_ROUGH).weights
    return Searched(settings, priors, float(items.distances(items.united(settings), priors).mean()))


def _alternatives(voices: Sequence[Voice], settings: VoiceSettings, part: Part) -> Iterator[VoiceSettings]:
    match part:
        case "weights":
            for weights in _weights(voices):
                yield replace(settings, weights={**settings.weights, **weights})
        case "gate":
            for far in range(_TENTHS):
                for near in range(far + 1, _TENTHS + 1):
                    yield replace(settings, gate=Gate(far / _TENTHS, near / _TENTHS))
        case "pooling":
            for pooling in get_args(VoicePooling):
                yield replace(settings, pooling=pooling)
        case "temperatures":
            for voice, temperature in product(voices, TEMPERATURES):
                yield replace(settings, temperatures={**settings.temperatures, voice: temperature})


def _weights(voices: Sequence[Voice]) -> Iterator[Mapping[Voice, float]]:
    """Shares of the voices in steps of one twentieth. Those besides a record always have some: where the record is too
    far, they speak alone."""
    for counts in product(range(_SHARES + 1), repeat=len(voices)):
        others = sum(count for voice, count in zip(voices, counts, strict=True) if voice != "record")
        if sum(counts) == _SHARES and others:
            yield {voice: count / _SHARES for voice, count in zip(voices, counts, strict=True)}
