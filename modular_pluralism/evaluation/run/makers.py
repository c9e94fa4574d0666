"""What makes one result for each item of a task file, how Overton answers are measured, and a judge of two methods."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from modular_pluralism.errors import ConfigurationError, PluralismError
from modular_pluralism.evaluation.data.items import Item, OvertonItem
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.measures.coverage import coverage
from modular_pluralism.evaluation.measures.entailment import Counts, EntailmentMeasure
from modular_pluralism.evaluation.measures.judge import (
    OpenModel,
    PairVerdict,
    judge_pair,
    rate,
    ratings_as_measures,
)
from modular_pluralism.evaluation.run.journal import Journal
from modular_pluralism.models.calls import Caller
from modular_pluralism.prompts import PromptSet

if TYPE_CHECKING:
    from inspect_ai.scorer import Scorer

_POINTS = {"win": 1.0, "tie": 0.0, "lose": -1.0}

Result = dict[str, Any]
"""Plain values. `error` is None, or why there is no result for the item."""


class Maker(ABC):
    """Makes results, which are kept under its `name`; safe to use for many items at once."""

    name: str

    @abstractmethod
    async def make(self, place: int, item: Item) -> Result:
        """The result for the item at that place.

        Raises:
            PluralismError: none can be made for any item.
        """

    @abstractmethod
    def scores(self, item: Item, result: Result) -> Mapping[str, float]:
        """The item's scores for a log, beside those of the scorers: always the same names, NaN where it has none."""

    @abstractmethod
    def shown(self, item: Item, result: Result) -> str:
        """The result as a text to read."""

    def scorers(self, item: Item) -> list[Scorer]:
        """Inspect's scorers of results for such items, for a log."""
        return []

    def metadata(self, result: Result) -> dict[str, Any]:
        """What scorers find in the result beside its text."""
        return {}


@dataclass(frozen=True)
class OvertonMeasures:
    """How Overton answers are measured: coverage always, ratings where there is a judge.

    `perspectives` is how many different perspectives an answer is asked for: its score per perspective is the mean over
    the item's values that it covers best, as many. Items with fewer values have none.
    """

    entailment: EntailmentMeasure
    judge: OpenModel | None
    prompts: PromptSet
    caller: Caller
    perspectives: int | None = None

    async def measure(self, item: OvertonItem, outcome: Outcome) -> None:
        """Put the answer's measures into the outcome.

        Raises:
            PluralismError: a measure's model failed.
        """
        answer = outcome["answer"] or ""
        said = [comment for comment in outcome["comments"].values() if comment["error"] is None]
        texts = [*item.explanations, *(comment["text"] for comment in said)]
        counts = Counts()
        scores = await coverage(self.entailment, answer, texts, counts)
        of_values, of_comments = scores[: len(item.explanations)], scores[len(item.explanations) :]
        lists = {"coverage": of_values}
        measures = {"coverage": _mean(of_values), **{name: float(value) for name, value in asdict(counts).items()}}
        if of_comments:
            lists["comment_coverage"] = of_comments
            measures["comment_coverage"] = _mean(of_comments)
        if self.perspectives is not None and len(of_values) >= self.perspectives:
            measures["perspective_score"] = _mean(sorted(of_values, reverse=True)[: self.perspectives])
        if self.judge is not None:
            ratings = await rate(self.judge(), self.prompts, item.question, answer, caller=self.caller)
            measures |= ratings_as_measures(ratings)
            outcome["parse_failures"] += sum(rating.score is None for rating in ratings.values())
        outcome["measures"], outcome["lists"] = measures, lists


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


class PairMaker(Maker):
    """Judges `one` against `other`, whose outcomes are in the journal."""

    def __init__(
        self, one: str, other: str, judge: OpenModel, prompts: PromptSet, caller: Caller, journal: Journal
    ) -> None:
        self.name = f"{one} against {other}"
        self._methods = (one, other)
        self._judge = judge
        self._prompts = prompts
        self._caller = caller
        self._journal = journal

    async def make(self, place: int, item: Item) -> Result:
        """See Maker."""
        answers = []
        for method in self._methods:
            outcome: dict[str, Any] = self._journal.get(method, place) or {"error": "never asked"}
            if outcome["error"] is not None:
                return {"error": f"{method} has no answer.", "verdict": None}
            answers.append(outcome["answer"])
        try:
            verdict = await judge_pair(self._judge(), self._prompts, item.question, *answers, caller=self._caller)
        except ConfigurationError:
            raise
        except PluralismError as error:
            return {"error": str(error), "verdict": None}
        return {"error": None, "verdict": asdict(verdict)}

    def scores(self, item: Item, result: Result) -> Mapping[str, float]:
        """See Maker: 1 for a win of the first, -1 for a defeat."""
        return {"wins_less_losses": _POINTS.get(result["verdict"]["outcome"], math.nan)}

    def shown(self, item: Item, result: Result) -> str:
        """See Maker."""
        return str(result["verdict"]["outcome"])


def verdict(result: Result) -> PairVerdict:
    """The verdict in a result: one without an outcome where a method or the judge failed."""
    kept = result["verdict"]
    if kept is None:
        return PairVerdict(None, None, None, parse_failures=0)
    pairs = {name: None if kept[name] is None else tuple(kept[name]) for name in ("probabilities", "masses")}
    return PairVerdict(kept["outcome"], parse_failures=kept["parse_failures"], **pairs)
