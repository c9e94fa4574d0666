"""Whether the questions that `pluralism community ask-next` puts first make a record better than others do.

examples:
  python -m benchmarks.next_questions --data data
  python -m benchmarks.next_questions --data data --draws 4

The folder has the files globalopinionqa_train.json and distributional_test_globalopinionqa_dev550.json. A record begins
with 40 questions of the former, drawn at random; then it gets the answers to those that are ranked first, or to as many
drawn at random, and estimates the latter's items. Nothing of this asks a language model.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import t

from modular_pluralism.errors import NoEvidenceError
from modular_pluralism.evaluation.measures.distances import js_distance
from modular_pluralism.records.next_questions import Asked, rank, records_on
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.rows import stream_rows
from modular_pluralism.records.similarity import Lexical
from modular_pluralism.records.survey import OpenQuestion, SurveyItem, answered_items

_BEGIN = 40
_LATER = (40, 80)
_RANDOM = 3
"""Sets of questions drawn at random, of which the mean is taken."""


class Draw(NamedTuple):
    """JS distances [of _LATER] of the record with the ranked questions, and with others."""

    ranked: list[float]
    others: list[float]


def measure(answered: Sequence[SurveyItem], test: Sequence[SurveyItem], seed: int) -> Draw:
    """One draw of the questions that the record begins with."""
    items: dict[OpenQuestion, list[SurveyItem]] = {}
    for item in answered:
        items.setdefault(OpenQuestion(item.question, item.options), []).append(item)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(items))
    questions = [list(items)[place] for place in order]
    begin, left = questions[:_BEGIN], questions[_BEGIN:]

    def distance(chosen: Sequence[OpenQuestion]) -> float:
        record = CommunityRecord([item for each in (*begin, *chosen) for item in items[each]], Lexical())
        return float(np.mean([_distance(record, item) for item in test]))

    record = CommunityRecord([item for each in begin for item in items[each]], Lexical())
    nearness, known, _ = records_on(left, [record])
    found = rank(left, ["everybody"], Asked(nearness, known, None), Lexical(), max(_LATER))
    ranked = [OpenQuestion(each.question, each.options) for each in found]
    drawn = [[left[place] for place in rng.permutation(len(left))] for _ in range(_RANDOM)]
    return Draw(
        [distance(ranked[:count]) for count in _LATER],
        [float(np.mean([distance(each[:count]) for each in drawn])) for count in _LATER],
    )


def _distance(record: CommunityRecord, item: SurveyItem) -> float:
    try:
        told = record.estimate(item.question, item.options, item.attribute).distribution
    except NoEvidenceError:  # counted as an even split, which is what is known then
        told = [1 / len(item.options)] * len(item.options)
    return js_distance(item.distribution, told)


def main() -> None:
    """Print a line for each number of questions, with the mean difference over the draws and its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of the two files")
    parser.add_argument("--draws", type=int, default=20, metavar="N", help="draws of the first questions (default: 20)")
    given = parser.parse_args()
    answered = answered_items(stream_rows(given.data / "globalopinionqa_train.json"))
    test = answered_items(stream_rows(given.data / "distributional_test_globalopinionqa_dev550.json"))
    draws = [measure(answered, test, seed) for seed in range(given.draws)]
    for place, count in enumerate(_LATER):
        ranked = np.array([draw.ranked[place] for draw in draws])
        others = np.array([draw.others[place] for draw in draws])
        differences = ranked - others
        half = t.ppf(0.975, len(draws) - 1) * differences.std(ddof=1) / len(draws) ** 0.5
        low, high = differences.mean() - half, differences.mean() + half
        print(
            f"{count} further questions, {len(draws)} draws: JS distance {ranked.mean():.4f} ranked, "
            f"{others.mean():.4f} at random, difference {differences.mean():+.4f} ({low:+.4f} to {high:+.4f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
