"""What a summary needs of all items and outcomes, gathered in one pass for each method."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from modular_pluralism.evaluation.data.groups import groups
from modular_pluralism.evaluation.data.items import Item, Kind, OptionItem
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.measures.distances import has_tied_modes
from modular_pluralism.evaluation.statistics.bootstrap import Draw
from modular_pluralism.evaluation.statistics.clusters import Grouping, question_of
from modular_pluralism.evaluation.statistics.examples import Extremes
from modular_pluralism.evaluation.statistics.figures import Measure, seen
from modular_pluralism.evaluation.statistics.kind_measures import main_measures
from modular_pluralism.evaluation.statistics.reliability import Reliability
from modular_pluralism.evaluation.statistics.results import Example, Failure, ReliabilityPoint
from modular_pluralism.evaluation.statistics.scores import Scores, is_asked, prediction_scores, scores_of
from modular_pluralism.evaluation.statistics.training_free import BASELINES, NEAREST, Baseline, TrainingFree
from modular_pluralism.records.populations import AMBIGUITY
from modular_pluralism.records.record import CommunityRecord

SHOWN_FAILURES = 100

Items: TypeAlias = Callable[[], Iterator[Item]]
Outcomes: TypeAlias = Callable[[str], Iterator[Outcome]]


class ScoredMethods:
    """All numbers of an evaluation: of `methods` and of training-free `baselines`, by their names."""

    def __init__(
        self,
        kind: Kind,
        items: Items,
        outcomes: Outcomes,
        methods: Sequence[str],
        *,
        seed: int,
        resamples: int,
        record: CommunityRecord | None = None,
    ) -> None:
        """Read the items once for each method and twice more. With a `record`, the nearest answered questions are a
        baseline, too, and items are grouped by how near they are.

        Raises:
            ValueError: the outcomes of a method are not those of the items, in their order.
        """
        self.kind = kind
        self.count = 0
        self.questions = Grouping()
        self.ties = False
        self.moral_choice = False
        self.groupings: dict[str, Grouping] = {}
        self.methods: dict[str, Scores] = {}
        self.examples: list[Example] = []
        self.failures: list[Failure] = []
        self.failed = 0
        self.reliability: dict[str, list[ReliabilityPoint]] = {}
        known = TrainingFree(record=record)
        for item in items():
            self._see(item, known)
        self.baselines = _baselines(kind, items, known)
        self.draw = Draw(seed, resamples, self.questions.of_items())
        for method in methods:
            self._read(method, items(), outcomes(method))

    def measures(self, *, directed: bool = False) -> list[Measure]:
        """What the kind's items are measured by, as far as a method has a value of it; where `directed`, those measures
        alone that say which way is better."""
        measures = seen(main_measures(self.kind, self.methods, ties=self.ties), self.methods)
        return [measure for measure in measures if measure.column.better is not None or not directed]

    def _see(self, item: Item, known: TrainingFree) -> None:
        self.count += 1
        self.questions.add(question_of(item))
        known.add(item)
        if isinstance(item, OptionItem):
            self.ties = self.ties or has_tied_modes(item.gold)
            self.moral_choice = self.moral_choice or item.attribute in AMBIGUITY
        for grouping, group in groups(item, self.kind).items():
            self.groupings.setdefault(grouping, Grouping()).add(group)
        if known.record is not None:
            near = known.distance_group(item) or "no options that fit"
            self.groupings.setdefault("nearest answered question", Grouping()).add(near)

    def _read(self, method: str, items: Iterator[Item], outcomes: Iterator[Outcome]) -> None:
        scores, extremes, reliability = Scores(), Extremes(self.kind, method), Reliability()
        labelled = False
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome["id"] != item.id:
                raise ValueError(f"the outcomes of {method} are not in the items' order, from item {item.id!r} on")
            of_item = scores_of(item, outcome)
            scores.add(of_item)
            extremes.add(item, outcome, of_item)
            reliability.add(item, outcome)
            prediction = outcome["prediction"]
            labelled = labelled or (is_asked(item) and prediction is not None and prediction["label"] is not None)
            if outcome["error"] is not None:
                self._fail(Failure(method=method, id=item.id, error=outcome["error"]))
        if not labelled:  # failures are wrong there too, but nothing was read that way
            scores.drop("agree_label")
            scores.drop("cell_label")
        self.methods[method] = scores
        self.examples += extremes.examples()
        points = reliability.points(self.draw)
        if points:
            self.reliability[method] = points

    def _fail(self, failure: Failure) -> None:
        self.failed += 1
        if len(self.failures) < SHOWN_FAILURES:
            self.failures.append(failure)


def _baselines(kind: Kind, items: Items, known: TrainingFree) -> dict[str, Scores]:
    if kind == "overton":
        return {}
    # A stance is chosen, and neither an even split nor a mean of the others' chooses one.
    names: list[Baseline] = ["majority"] if kind == "steerable-value" else [*BASELINES]
    if known.record is not None:
        names.append(NEAREST)
    baselines = {name: Scores() for name in names}
    for item in items():
        for name, scores in baselines.items():
            scores.add(_baseline_scores(name, item, known))
    return {str(name): scores for name, scores in baselines.items()}


def _baseline_scores(name: Baseline, item: Item, known: TrainingFree) -> dict[str, float]:
    """Of both ways to read a prediction, which are the same here."""
    predicted, chosen = known.predict(name, item), known.predict(name, item, itself=True)
    if predicted is None or chosen is None:
        return {}
    # The most likely option of a mean turns over in a near tie, as the majority does: there, the item counts too.
    by_choice = prediction_scores(item, chosen, chosen)
    return prediction_scores(item, predicted, predicted) | {
        key: score for key, score in by_choice.items() if key.startswith("agree")
    }
