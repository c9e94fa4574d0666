"""What every community of a pool gives for items, voice by voice: their distributions, before anything is pooled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modular_pluralism.errors import ConfigurationError, NoEvidenceError, PluralismError
from modular_pluralism.evaluation.data.items import OptionItem
from modular_pluralism.evaluation.run.bench import OnResult, each_item, untold
from modular_pluralism.evaluation.run.methods import Setting, question
from modular_pluralism.evaluation.statistics.clusters import question_of
from modular_pluralism.graphs import build_distributional
from modular_pluralism.models.pool_models import check_records
from modular_pluralism.nodes.aggregate import HEARD_IN
from modular_pluralism.nodes.recall import too_far
from modular_pluralism.nodes.request import voices_in
from modular_pluralism.pool import Pool
from modular_pluralism.priors.voices import HeardItem
from modular_pluralism.records.record import Estimated
from modular_pluralism.types import Voice


@dataclass(frozen=True)
class ReadItem:
    """An item with what the voices of the communities gave for it, and the attribute that they were asked with. `heard`
    is None where some community has failed; `error` says why."""

    item: OptionItem
    attribute: str | None
    heard: HeardItem | None
    error: str | None = None


async def read_items(
    items: Sequence[OptionItem],
    setting: Setting,
    *,
    concurrency: int,
    on_result: OnResult = untold,
) -> list[ReadItem]:
    """Every item's distributions by community and voice, in the order of the items; `concurrency` items at once.

    A record is asked without the item's own question, which the record may hold: what it says must tell how well it
    knows questions that nobody has answered.

    Raises:
        PluralismError: nothing can be read for any item, or a record cannot be read. The others are then stopped.
    """
    reader = _Reader(setting)

    async def read(_place: int, item: OptionItem) -> ReadItem:
        reading = await reader.read(item)
        on_result(None, {"error": reading.error})
        return reading

    return await each_item(items, read, concurrency=concurrency)


class _Reader:
    """Hears each community by all of the voices, and unites none."""

    def __init__(self, setting: Setting) -> None:
        self._setting, self._pool = setting, _all_alike(setting.pool)
        self._voices = voices_in(setting.voice)
        self._spoken: tuple[Voice, ...] = tuple(voice for voice in self._voices if voice != "record")
        check_records(self._pool, list(self._pool.communities), self._voices)
        self._graph: Any = None
        if self._spoken:
            self._graph = build_distributional(
                self._pool,
                scoring=setting.scoring,
                voice=",".join(self._spoken),
                prompts=setting.prompts,
                models=setting.models,
            ).compile(cache=setting.cache)

    async def read(self, item: OptionItem) -> ReadItem:
        asked = question(item, self._setting)
        attribute = asked.get("attribute")
        try:
            state = {} if self._graph is None else await self._graph.ainvoke(asked)
            records = self._records(asked) if "record" in self._voices else {}
        except ConfigurationError:
            raise
        except PluralismError as error:
            return ReadItem(item, attribute, None, str(error))
        names, count = list(self._pool.communities), len(item.options)
        said = np.full((len(names), len(self._voices), count), np.nan)
        for place, voice in enumerate(self._voices):
            heard = records if voice == "record" else state[self._kept_in(voice)]
            for community, name in enumerate(names):
                if name in heard:
                    said[community, place] = _shares(heard[name])
        nearness = np.array([records[name].evidence["nearness"] if name in records else np.nan for name in names])
        gold = np.array(item.gold)
        return ReadItem(item, attribute, HeardItem(said, nearness, gold / gold.sum(), question_of(item)))

    def _kept_in(self, voice: Voice) -> str:
        """Where the state has what a voice says: one that speaks alone, among the distributions."""
        return HEARD_IN[voice] if len(self._spoken) > 1 else "distributions"

    def _records(self, asked: Mapping[str, Any]) -> dict[str, Estimated]:
        """What each community's record says that has something near; alone, every one has to."""
        found = {}
        for name in self._pool.communities:
            if self._pool.answers_file(name) is None:
                continue
            record = self._setting.models.record(name)
            try:
                estimated = record.estimate(asked["question"], asked["options"], asked.get("attribute"), itself=False)
                if not self._spoken and estimated.evidence["opening"] == 0:
                    raise too_far(estimated.evidence, record.gate)
            except NoEvidenceError as error:
                if not self._spoken:
                    raise NoEvidenceError(f"{name}: {error}") from None
                continue
            found[name] = estimated
        return found


def _shares(heard: Any) -> Sequence[float]:
    shares: Sequence[float] = heard.distribution if isinstance(heard, Estimated) else heard["probabilities"]
    return shares


def _all_alike(pool: Pool) -> Pool:
    """The pool with equal priors, a quorum of all, and voices that any pooling unites: weights are fitted on items that
    every community has answered."""
    communities = {name: each.model_copy(update={"prior": 1.0}) for name, each in pool.communities.items()}
    neutral = {"quorum": len(communities), "voice_weights": {}, "voice_pooling": "linear", "voice_temperatures": {}}
    run = pool.run.model_copy(update=neutral)
    return pool.model_copy(update={"communities": communities, "priors_by_attribute": {}, "run": run})
