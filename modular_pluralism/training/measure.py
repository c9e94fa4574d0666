"""How near a community comes to the answers of questions that it has never seen, as the engine reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modular_pluralism.evaluation.measures.distances import js_distance
from modular_pluralism.evaluation.statistics.bootstrap import Bootstrap, Draw, ratio
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.llama.job import Adapter
from modular_pluralism.models.engine_reader import EngineOptionReader
from modular_pluralism.option_math import letters, mean_over_rotations, normalise, rotations
from modular_pluralism.prepared.cache import prepared_file
from modular_pluralism.prompts import PromptSet
from modular_pluralism.training.settings import Base
from modular_pluralism.training.survey import SurveyItem
from modular_pluralism.training.vote_prompts import vote_prompt

CHANGE = "with the adapter − without it"


class Measured:
    """JS distances of the same items, before and after, and of an even split: `figures` by name, and label masses. They
    are read with `read_with`, the base or the file that was prepared from it for this machine."""

    def __init__(self, base: Base, adapter: Path, items: Sequence[SurveyItem], seed: int) -> None:
        """Reads every item twice, averaged over all rotations of its options.

        Raises:
            ModelLoadError: the engine cannot load the base or the adapter.
        """
        # As a pool would: several times faster, and nearly the same answers.
        self.read_with = prepared_file(base.gguf) or base.gguf
        chat = ChatLlama(gguf=self.read_with, adapters=(adapter,), template=base.template, context=base.context)
        try:
            tuned = chat.model_copy(update={"adapter": Adapter(adapter)})
            before = [_read(chat, item) for item in items]
            after = [_read(tuned, item) for item in items]
        finally:
            chat.engine.close()
        even = [[1 / len(item.options)] * len(item.options) for item in items]
        self.masses = tuple(float(np.mean([mass for _, mass in rows])) for rows in (before, after))
        columns = {
            "with the adapter": [shares for shares, _ in after],
            "without it": [shares for shares, _ in before],
            "an even split": even,
        }
        distances = np.array(
            [
                [*(js_distance(item.distribution, column[row]) for column in columns.values()), 1.0]
                for row, item in enumerate(items)
            ]
        )
        questions = {question: number for number, question in enumerate(dict.fromkeys(i.question for i in items))}
        clusters = np.array([questions[item.question] for item in items])
        drawn = Draw(seed, clusters=clusters).of(distances)
        self.questions = len(questions)
        self.figures = paired_figures(drawn, list(columns), n=len(items), clusters=len(questions))


def paired_figures(drawn: Bootstrap, names: Sequence[str], *, n: int, clusters: int) -> dict[str, Figure]:
    """The mean of each column, of which there is one for each name and then one of ones; and, paired, how much smaller
    the first mean is than the second."""
    found = {name: drawn.figure(ratio(place, len(names)), n=n, clusters=clusters) for place, name in enumerate(names)}
    with_it, without = ratio(0, len(names)), ratio(1, len(names))
    change = drawn.figure(lambda sums: with_it(sums) - without(sums), n=n, difference=True, clusters=clusters)
    return found | {CHANGE: change}


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
