"""What every community of a pool gives for items: their distributions, before anything is pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modular_pluralism.errors import ConfigurationError, PluralismError
from modular_pluralism.evaluation.data.items import OptionItem
from modular_pluralism.evaluation.run.bench import OnResult, each_item, untold
from modular_pluralism.evaluation.run.methods import Setting, question
from modular_pluralism.graphs import build_distributional
from modular_pluralism.pool import Pool
from modular_pluralism.priors.em import AnsweredItem


@dataclass(frozen=True)
class ReadItem:
    """An item with what the communities gave for it, and the attribute that they were asked with. `answered` is None
    where some community has failed; `error` says why."""

    item: OptionItem
    attribute: str | None
    answered: AnsweredItem | None
    error: str | None = None


async def read_items(
    items: Sequence[OptionItem],
    setting: Setting,
    *,
    concurrency: int,
    on_result: OnResult = untold,
) -> list[ReadItem]:
    """Every item's distributions by community, in the order of the items; `concurrency` items at once.

    Raises:
        PluralismError: nothing can be read for any item. The others are then stopped.
    """
    pool = _all_alike(setting.pool)
    graph = build_distributional(
        pool, scoring=setting.scoring, voice=setting.voice, prompts=setting.prompts, models=setting.models
    ).compile(cache=setting.cache)

    async def read(_place: int, item: OptionItem) -> ReadItem:
        reading = await _read(graph, item, setting)
        on_result(None, {"error": reading.error})
        return reading

    return await each_item(items, read, concurrency=concurrency)


async def _read(graph: Any, item: OptionItem, setting: Setting) -> ReadItem:
    asked = question(item, setting)
    attribute = asked.get("attribute")
    try:
        state = await graph.ainvoke(asked)
    except ConfigurationError:
        raise
    except PluralismError as error:
        return ReadItem(item, attribute, None, str(error))
    read = [state["distributions"][name]["probabilities"] for name in setting.pool.communities]
    gold = np.array(item.gold)
    return ReadItem(item, attribute, AnsweredItem(np.array(read), gold / gold.sum()))


def _all_alike(pool: Pool) -> Pool:
    """The pool with equal priors and a quorum of all: weights are fitted on items that every community has answered."""
    communities = {name: each.model_copy(update={"prior": 1.0}) for name, each in pool.communities.items()}
    run = pool.run.model_copy(update={"quorum": len(communities)})
    return pool.model_copy(update={"communities": communities, "priors_by_attribute": {}, "run": run})
