"""The voices of every community for many items at once, united and pooled as a run does it.

`modular_pluralism.nodes.aggregate` does the same for one question; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.evaluation.measures.distances import FARTHEST
from modular_pluralism.priors.em import FLOOR, AnsweredItem, Floats
from modular_pluralism.records.similarity import Gate
from modular_pluralism.types import Voice, VoicePooling

Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class HeardItem:
    """One item with what every voice of every community says of it, before any of it is united.

    `said` [n_communities, n_voices, n_options] are distributions, NaN where a community is not heard by a voice;
    `nearness` [n_communities] says how alike the nearest question of its record is, NaN where the record says nothing;
    `gold` [n_options] is the real distribution. Items of one `question` are no independent evidence.
    """

    said: Floats
    nearness: Floats
    gold: Floats
    question: str


@dataclass(frozen=True)
class VoiceSettings:
    """How the voices of a community become one: what a pool's [run] table says of them. Voices that `weights` or
    `temperatures` leave out have 1."""

    weights: Mapping[Voice, float]
    pooling: VoicePooling
    gate: Gate
    temperatures: Mapping[Voice, float]


class HeardItems:
    """Items that were heard by the same voices of the same communities, in arrays over all of them. With fewer options
    than others, an item has no probability for the rest."""

    def __init__(self, items: Sequence[HeardItem], voices: Sequence[Voice]) -> None:
        if not items:
            raise ValueError("there are no items to unite the voices of")
        self.voices = tuple(voices)
        most = max(len(item.gold) for item in items)
        said = np.stack([_wide(item.said, most) for item in items])  # [n_items, n_communities, n_voices, n_options]
        self._fill(
            said=np.nan_to_num(said, nan=0.0),
            heard=~np.isnan(said[..., 0]),
            nearness=np.stack([item.nearness for item in items]),
            gold=np.stack([_wide(item.gold, most) for item in items]),
            sizes=np.array([len(item.gold) for item in items]),
            question=np.unique([item.question for item in items], return_inverse=True)[1],
        )

    def _fill(
        self,
        said: Floats,
        heard: Bools,
        nearness: Floats,
        gold: Floats,
        sizes: NDArray[np.int64],
        question: NDArray[np.int64],
    ) -> None:
        self._said, self._heard, self.nearness = said, heard, nearness
        self.gold, self._sizes, self.question = gold, sizes, question
        with np.errstate(divide="ignore"):
            self._logs: Floats = np.log(said)
        self._tempered: dict[tuple[int, float], Floats] = {}

    @property
    def count(self) -> int:
        """Of items."""
        return len(self.gold)

    def only(self, chosen: Bools) -> HeardItems:
        """Those of the items that are `chosen` [n_items]."""
        part = HeardItems.__new__(HeardItems)
        part.voices = self.voices
        part._fill(
            said=self._said[chosen],
            heard=self._heard[chosen],
            nearness=self.nearness[chosen],
            gold=self.gold[chosen],
            sizes=self._sizes[chosen],
            question=self.question[chosen],
        )
        return part

    def united(self, settings: VoiceSettings) -> Floats:
        """Each community's own distribution [n_items, n_communities, n_options]; all 0 where none of its voices has a
        weight, or where they have no option in common, so that a run would count the community as missing."""
        weights = self._weights(settings)
        heat = [settings.temperatures.get(voice, 1.0) for voice in self.voices]
        if settings.pooling == "linear":
            parts = np.stack([self._of_voice(place, each) for place, each in enumerate(heat)])
            mean: Floats = np.einsum("ncv,vnco->nco", weights, parts)
            return mean
        logs = np.zeros_like(self._logs[:, :, 0])
        for place, each in enumerate(heat):
            weight = weights[:, :, place, None]
            with np.errstate(invalid="ignore"):  # a voice without weight forbids no option
                logs += np.where(weight > 0, weight / each * self._logs[:, :, place], 0.0)
        logs[weights.sum(-1) == 0] = -np.inf
        return _from_logs(logs)

    def alone(self, voice: Voice) -> Floats:
        """What each community says by this voice alone [n_items, n_communities, n_options], however near its record is;
        all 0 where it is not heard by it."""
        return self._said[:, :, self.voices.index(voice)]

    def log_likelihoods(self, united: Floats, priors: Floats) -> Floats:
        """Of each item's real distribution under the linear pool, in nats [n_items], with the floor of `fit_weights`.
        `united` is as above, and `priors` are [n_communities] or [n_items, n_communities], each summing to 1."""
        pooled = linear(np.maximum(united, FLOOR), priors)
        likelihoods: Floats = (self.gold * np.log(pooled)).sum(-1)
        return likelihoods

    def distances(self, united: Floats, priors: Floats) -> Floats:
        """The JS distance of each item's real distribution from the linear pool of the same [n_items], base e; the
        largest possible one where nobody with a weight has answered."""
        pooled = linear(united, priors)
        middle = (self.gold + pooled) / 2
        squared = (_divergences(self.gold, middle) + _divergences(pooled, middle)) / 2
        squared = np.minimum(np.maximum(squared, 0.0), FARTHEST**2)  # a rounding error is no distance
        distances: Floats = np.where(pooled.sum(-1) > 0, np.sqrt(squared), FARTHEST)
        return distances

    def answered(self, settings: VoiceSettings) -> list[AnsweredItem]:
        """What weights of communities are fitted on: each item with the communities' united distributions."""
        united = self.united(settings)
        return [
            AnsweredItem(read[:, :size], gold[:size])
            for read, gold, size in zip(united, self.gold, self._sizes, strict=True)
        ]

    def _weights(self, settings: VoiceSettings) -> Floats:
        """Of each voice [n_items, n_communities, n_voices], summing to 1, or 0 where none has any."""
        weights = self._heard * np.array([settings.weights.get(voice, 1.0) for voice in self.voices])
        if "record" in self.voices:
            far, near = settings.gate
            opening = np.clip((np.nan_to_num(self.nearness) - far) / (near - far), 0.0, 1.0)
            weights[:, :, self.voices.index("record")] *= opening
        return _normalised(weights, 0.0)

    def _of_voice(self, place: int, temperature: float) -> Floats:
        """A voice's distributions [n_items, n_communities, n_options] at a temperature."""
        if temperature == 1.0:
            return self._said[:, :, place]
        key = (place, temperature)
        if key not in self._tempered:
            self._tempered[key] = _from_logs(self._logs[:, :, place] / temperature)
        return self._tempered[key]


def linear(united: Floats, priors: Floats) -> Floats:
    """The linear pool [n_items, n_options] of `united` [n_items, n_communities, n_options]; `priors` are
    [n_communities] or [n_items, n_communities]."""
    pooled: Floats = np.einsum("nc,nco->no", np.broadcast_to(priors, united.shape[:2]), united)
    return pooled


def of_those_heard(united: Floats, priors: Floats) -> Floats:
    """The priors of the communities that an item was answered by [n_items, n_communities], each item's summing to 1,
    and NaN where nobody with a weight has answered: a run would have no result."""
    heard = np.broadcast_to(priors, united.shape[:2]) * (united.sum(-1) > 0)
    return _normalised(heard, np.nan)


def _divergences(shares: Floats, middle: Floats) -> Floats:
    """Kullback and Leibler's, of each row from that of `middle`, which has a share wherever it has one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        divergences: Floats = np.where(shares > 0, shares * np.log(shares / middle), 0.0).sum(-1)
    return divergences


def _normalised(values: Floats, nothing: float) -> Floats:
    """Each row divided by its sum; `nothing` where that is 0."""
    total = values.sum(-1, keepdims=True)
    shares: Floats = np.divide(values, total, out=np.full_like(values, nothing), where=total > 0)
    return shares


def _from_logs(logs: Floats) -> Floats:
    """Distributions from unnormalised logarithms; all 0 where all are minus infinity."""
    most = logs.max(-1, keepdims=True)
    return _normalised(np.exp(logs - np.where(np.isfinite(most), most, 0.0)), 0.0)


def _wide(rows: Floats, count: int) -> Floats:
    """With so many columns, of which the new ones are 0."""
    return np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, count - rows.shape[-1])])
