"""A group's votes on statements that it has not seen, told by its record: Polis conversations, no language model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.study.conversations import LEAST_VOTES, Asked, Export
from benchmarks.study.tables import Line, Sheet
from modular_pluralism.evaluation.measures.distances import js_distance
from modular_pluralism.evaluation.statistics.bootstrap import RESAMPLES, Draw
from modular_pluralism.evaluation.statistics.clusters import Grouping
from modular_pluralism.evaluation.statistics.figures import Mask, Measure, differences, figures, mean_of
from modular_pluralism.evaluation.statistics.kind_measures import JS
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.evaluation.statistics.scores import Scores
from modular_pluralism.polis.export import OPTIONS
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.similarity import Gate, Similarity
from modular_pluralism.records.survey import SurveyItem

DRAWS = 3
"""Times that the statements are halved; each half is seen in turn."""
OWN_MEAN, EVERYBODYS_MEAN = "the group's mean", "everybody's mean"
_UNIFORM, _ORACLE = "*uniform*", "*everybody's votes on it*"
_NATS = mean_of("nats", "log-loss", "Nats a vote, on the real votes of a statement.", better="lower")
_LEAST_SHARE = 1e-9


class Predicted:
    """Scores by method, of all groups' unseen statements; `conversations` and `statements` say what each is of."""

    def __init__(self, similar: Mapping[str, Similarity]) -> None:
        self._similar = similar
        self.scores = {name: Scores() for name in [*similar, OWN_MEAN, EVERYBODYS_MEAN, _UNIFORM, _ORACLE]}
        self.nearness = Scores()
        self.conversations, self.statements = Grouping(), Grouping()

    def add(self, conversation: str, asked: Asked) -> None:
        """Take a group's unseen statements into account."""
        records = {name: CommunityRecord(asked.own, similar) for name, similar in self._similar.items()}
        own, everybody = _mean(asked.own), _mean(asked.everybody)
        for unseen in asked.unseen:
            found = {name: record.estimate(unseen.statement, OPTIONS) for name, record in records.items()}
            # What everybody said about this very statement, with a vote as they vote on others: no method knows that.
            oracle = (unseen.everybody + everybody) / (unseen.everybody.sum() + 1)
            shares = {name: each.distribution for name, each in found.items()} | {
                OWN_MEAN: own,
                EVERYBODYS_MEAN: everybody,
                _UNIFORM: [1 / len(OPTIONS)] * len(OPTIONS),
                _ORACLE: oracle,
            }
            real = unseen.votes / unseen.votes.sum()
            for name, predicted in shares.items():
                nats = -float(real @ np.log(np.maximum(predicted, _LEAST_SHARE)))
                self.scores[name].add({"js": js_distance(real.tolist(), list(predicted)), "nats": nats})
            self.nearness.add({name: each.evidence["nearness"] for name, each in found.items()})
            self.conversations.add(conversation)
            self.statements.add(f"{conversation}\n{unseen.statement}")


def polis_sheets(folders: Sequence[Path], similar: Mapping[str, Similarity], *, seed: int) -> list[Sheet]:
    """The tables of these exports, a conversation a row.

    Raises:
        TrainingDataError: a folder is none of Polis's exports, or its participants form no two groups.
    """
    predicted = Predicted(similar)
    for folder in folders:
        print(f"Polis, {folder.name}", file=sys.stderr, flush=True)
        export = Export(folder)
        for draw in range(DRAWS):
            for asked in export.asked(seed + draw):
                predicted.add(export.name, asked)
    return sheets_of_predicted(predicted, similar, seed=seed)


def sheets_of_predicted(predicted: Predicted, similar: Mapping[str, Similarity], *, seed: int) -> list[Sheet]:
    """The tables of what was predicted."""
    draw = Draw(seed, RESAMPLES, predicted.statements.of_items())
    masks = {_titled(name, mask, predicted): mask for name, mask in predicted.conversations.masks().items()}
    note = (
        f"Statements are halved {DRAWS} times, and each half is seen in turn. Participants are grouped by their votes "
        "on the seen half; their groups' records, made as `community from-polis` makes them, tell the other half, "
        f"where a group has at least {LEAST_VOTES} votes on a statement. An item is a group of one draw, asked about "
        "a statement. The intervals are over statements. What everybody voted on the statement itself is known to no "
        "method, and says how much is left to know."
    )
    against = _against(predicted, similar, draw, masks)
    return [
        _sheet(predicted, draw, masks, JS, "JS distance", note),
        _sheet(predicted, draw, masks, _NATS, "Log-loss", "Nats a vote, on the real votes of a statement; their mean."),
        *against,
        *(_by_nearness(predicted, name, each.gate, draw) for name, each in similar.items()),
    ]


def _sheet(
    predicted: Predicted, draw: Draw, masks: Mapping[str, Mask], measure: Measure, title: str, note: str
) -> Sheet:
    lines = [
        Line(
            name=title_of,
            cells={
                _shown(name): figures(scores, [measure], draw, only=mask)[measure.column.key]
                for name, scores in predicted.scores.items()
            },
        )
        for title_of, mask in masks.items()
    ]
    return Sheet(title=title, note=note, lines=lines)


def _against(
    predicted: Predicted, similar: Mapping[str, Similarity], draw: Draw, masks: Mapping[str, Mask]
) -> list[Sheet]:
    sheets = []
    for measure in (JS, _NATS):
        lines = []
        for title, mask in masks.items():
            cells: dict[str, Figure | None] = {}
            for name in similar:
                for other in (OWN_MEAN, EVERYBODYS_MEAN):
                    cells[f"{name} − {other}"] = _less(predicted, name, other, measure, draw, mask)
            lines.append(Line(name=title, cells=cells))
        sheets.append(
            Sheet(
                title=f"The record against the means, {measure.column.title}",
                note="Paired differences; below zero, the record is nearer.",
                lines=lines,
                differences=list(lines[0].cells),
            )
        )
    return sheets


def _by_nearness(predicted: Predicted, name: str, gate: Gate, draw: Draw) -> Sheet:
    nearness = predicted.nearness.column(name)
    bands = {
        f"up to {gate.far:g}, where a record alone is not heard": nearness <= gate.far,
        f"{gate.far:g} to {gate.near:g}": (nearness > gate.far) & (nearness < gate.near),
        f"from {gate.near:g} on": nearness >= gate.near,
    }
    lines = []
    for title, mask in bands.items():
        if not mask.any():
            continue
        cells: dict[str, Figure | None] = {
            each: figures(predicted.scores[each], [JS], draw, only=mask)["js"] for each in (name, OWN_MEAN)
        }
        for other in (OWN_MEAN, EVERYBODYS_MEAN):
            cells[f"{name} − {other}"] = _less(predicted, name, other, JS, draw, mask)
        lines.append(Line(name=_titled(title, mask, predicted), cells=cells))
    return Sheet(
        title=f"How near the nearest seen statement is, {name}",
        note="JS distance, all conversations together.",
        lines=lines,
        differences=[f"{name} − {other}" for other in (OWN_MEAN, EVERYBODYS_MEAN)],
    )


def _less(predicted: Predicted, one: str, other: str, measure: Measure, draw: Draw, mask: Mask) -> Figure:
    found = differences(predicted.scores[one], predicted.scores[other], [measure], draw, only=mask)
    return found[measure.column.key]


def _titled(name: str, mask: Mask, predicted: Predicted) -> str:
    statements = len(np.unique(predicted.statements.of_items()[mask]))
    return f"{name} ({statements} statements, {int(mask.sum()):,} items)"


def _shown(name: str) -> str:
    return f"record, {name}" if name.startswith("by ") else name


def _mean(items: Sequence[SurveyItem]) -> list[float]:
    mean: list[float] = np.mean([item.distribution for item in items], axis=0).tolist()
    return mean
