"""How near a community comes to what it has never seen, with its adapter and without."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modular_pluralism.evaluation.measures.distances import js_distance
from modular_pluralism.evaluation.statistics.bootstrap import Draw, ratio
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.llama.job import Adapter
from modular_pluralism.models.engine_reader import EngineOptionReader
from modular_pluralism.option_math import letters, mean_over_rotations, normalise, rotations
from modular_pluralism.optional import optional
from modular_pluralism.prepared.cache import prepared_file
from modular_pluralism.prompts import PromptSet
from modular_pluralism.records.survey import SurveyItem
from modular_pluralism.training.base_model import PURPOSE
from modular_pluralism.training.settings import Base
from modular_pluralism.training.text_objective import TextObjective
from modular_pluralism.training.vote_prompts import vote_prompt

CHANGE = "with the adapter − without it"


@dataclass(frozen=True)
class HeldOut:
    """Held-out figures by name, over so many distinct questions (or texts), and what else a card tells of them."""

    figures: dict[str, Figure]
    clusters: int
    notes: list[str]


def measure_survey(base: Base, adapter: Path, items: Sequence[SurveyItem], seed: int) -> HeldOut:
    """JS distances to the real shares, with the adapter, without it, and of an even split.

    The engine reads every item twice, averaged over all rotations of its options, from the base or the file that was
    prepared from it for this machine.

    Raises:
        ModelLoadError: the engine cannot load the base or the adapter.
    """
    # As a pool would: several times faster, and nearly the same answers.
    read_with = prepared_file(base.gguf) or base.gguf
    chat = ChatLlama(gguf=read_with, adapters=(adapter,), template=base.template, context=base.context)
    try:
        tuned = chat.model_copy(update={"adapter": Adapter(adapter)})
        before, after = ([_read(model, item) for item in items] for model in (chat, tuned))
    finally:
        chat.engine.close()
    columns = {
        "with the adapter": [shares for shares, _ in after],
        "without it": [shares for shares, _ in before],
        "an even split": [[1 / len(item.options)] * len(item.options) for item in items],
    }
    distances = [
        [js_distance(item.distribution, shares) for item, shares in zip(items, column, strict=True)]
        for column in columns.values()
    ]
    mass, mass_before = (float(np.mean([mass for _, mass in rows])) for rows in (after, before))
    figures, clusters = _figures(list(columns), distances, [item.question for item in items], seed)
    note = (
        f"Probability on the options' letters: {mass:.3f} with the adapter, {mass_before:.3f} without it. Read with "
        f"`{read_with.name}`."
    )
    return HeldOut(figures, clusters, [note])


def measure_texts(model: Any, objective: TextObjective, seed: int) -> HeldOut:
    """The loss a token on the held-out blocks of texts, with the adapter and without it."""
    torch = optional("torch", "train", PURPOSE)
    with torch.no_grad():
        after = objective.held_out_losses(model)
        with model.disable_adapter():
            before = objective.held_out_losses(model)
    figures, clusters = _figures(["with the adapter", "without it"], [after, before], objective.held_out_texts, seed)
    return HeldOut(figures, clusters, [])


def _figures(
    names: Sequence[str], columns: Sequence[Sequence[float]], clusters: Sequence[Hashable], seed: int
) -> tuple[dict[str, Figure], int]:
    """The mean of each column, and, paired, how much smaller the first mean is than the second; and how many distinct
    clusters there are, which are what is resampled for the intervals."""
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    table = np.array([*columns, [1.0] * len(clusters)]).T
    drawn = Draw(seed, clusters=np.array([numbers[cluster] for cluster in clusters])).of(table)
    n, distinct = len(clusters), len(numbers)
    figures = {name: drawn.figure(ratio(at, len(names)), n=n, clusters=distinct) for at, name in enumerate(names)}
    with_it, without = ratio(0, len(names)), ratio(1, len(names))
    figures[CHANGE] = drawn.figure(lambda sums: with_it(sums) - without(sums), n=n, difference=True, clusters=distinct)
    return figures, distinct


def _read(chat: ChatLlama, item: SurveyItem) -> tuple[list[float], float]:
    """The option distribution, averaged over rotations, and the label mass."""
    prompts = PromptSet.load()
    asked = [
        vote_prompt(prompts, item.question, [item.options[at] for at in order], item.attribute)
        for order in rotations(len(item.options))
    ]
    readings = EngineOptionReader(chat).read_labels(asked, letters(len(item.options)), {})
    shares = mean_over_rotations([normalise(reading.probabilities) for reading in readings])
    return shares, sum(sum(reading.probabilities) for reading in readings) / len(readings)
