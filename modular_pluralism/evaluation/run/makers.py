"""What makes one result for each item of a task file: a method with its measures, or a judge of two methods."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from modular_pluralism.errors import ConfigurationError, PluralismError
from modular_pluralism.evaluation.data.items import Item, OptionItem, OvertonItem, ValueItem
from modular_pluralism.evaluation.data.outcome import Outcome, Prediction
from modular_pluralism.evaluation.measures.coverage import coverage
from modular_pluralism.evaluation.measures.distances import most_likely_agrees
from modular_pluralism.evaluation.measures.entailment import Counts, EntailmentMeasure
from modular_pluralism.evaluation.measures.judge import (
    CRITERIA,
    OpenModel,
    PairVerdict,
    judge_pair,
    rate,
    ratings_as_measures,
)
from modular_pluralism.evaluation.run.journal import Journal
from modular_pluralism.evaluation.run.methods import Method
from modular_pluralism.models.calls import Caller
from modular_pluralism.option_math import letters, most_likely
from modular_pluralism.prompts import PromptSet

if TYPE_CHECKING:
    from inspect_ai.scorer import Scorer

_POINTS = {"win": 1.0, "tie": 0.0, "lose": -1.0}

Result = dict[str, Any]
"""Plain values. `error` is None, or why there is no result for the item."""


class Maker(Protocol):
    """Makes results; safe to use for many items at once."""

    @property
    def name(self) -> str:
        """Under which results are kept."""

    async def make(self, place: int, item: Item) -> Result:
        """The result for the item at that place.

        Raises:
            PluralismError: none can be made for any item.
        """

    def scorers(self, item: Item) -> list[Scorer]:
        """Inspect's scorers of results for such items, for a log."""

    def scores(self, item: Item, result: Result) -> Mapping[str, float]:
        """The item's other scores, for a log: always the same names."""

    def shown(self, item: Item, result: Result) -> str:
        """The result as a text to read."""

    def metadata(self, result: Result) -> dict[str, Any]:
        """What scorers find in the result beside its text."""


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


class MethodMaker:
    """Makes a method's outcomes."""

    def __init__(self, method: Method, overton: OvertonMeasures | None) -> None:
        self.name = method.name
        self._method = method
        self._overton = overton

    async def make(self, place: int, item: Item) -> Result:
        """See Maker. An answer that could not be measured is a failure, and kept as one."""
        outcome = await self._method.answer(item)
        if isinstance(item, OvertonItem) and self._overton is not None and outcome["error"] is None:
            try:
                await self._overton.measure(item, outcome)
            except ConfigurationError:
                raise
            except PluralismError as error:
                outcome["error"] = f"The answer could not be measured. {error}"
        return cast(Result, outcome)

    def scorers(self, item: Item) -> list[Scorer]:
        """See Maker."""
        # Here, since trials, fits and patches need nothing of Inspect, which takes long to import.
        from modular_pluralism.evaluation.inspect.scorers import js_distance, value_coverage

        match item:
            case OptionItem():
                return [js_distance()]
            case OvertonItem():
                return [value_coverage()]
        return []

    def scores(self, item: Item, result: Result) -> Mapping[str, float]:
        """See Maker: NaN where the item has none of that name."""
        prediction: Prediction | None = result["prediction"]
        match item:
            case OptionItem() if prediction is not None:
                return {"most_likely": float(most_likely_agrees(item.gold, prediction["rotate"]))}
            case ValueItem() if prediction is not None:
                return {"accuracy": float(stance(prediction) == item.label)}
            case _:
                names = ("comment_coverage", "perspective_score", *(f"rating_{name}" for name in CRITERIA))
                return {name: result["measures"].get(name, math.nan) for name in names}

    def shown(self, item: Item, result: Result) -> str:
        """See Maker."""
        prediction: Prediction | None = result["prediction"]
        if prediction is None:
            return str(result["answer"])
        options = item.options
        return "\n".join(
            f"{share:.3f}  {letter}. {option}"
            for letter, option, share in zip(letters(len(options)), options, prediction["rotate"], strict=True)
        )

    def metadata(self, result: Result) -> dict[str, Any]:
        """See Maker: the distribution, or the coverage of each value."""
        prediction: Prediction | None = result["prediction"]
        lists: dict[str, list[float]] = result["lists"]
        return {"coverage": lists.get("coverage")} if prediction is None else {"distribution": prediction["rotate"]}


def stance(prediction: Prediction) -> str:
    """The letter of the likeliest stance."""
    return "ABC"[most_likely(prediction["rotate"])]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


class PairMaker:
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

    def scorers(self, item: Item) -> list[Scorer]:
        """See Maker."""
        return []

    def scores(self, item: Item, result: Result) -> Mapping[str, float]:
        """See Maker: 1 for a win of the first, -1 for a defeat."""
        return {"wins_less_losses": _POINTS.get(result["verdict"]["outcome"], math.nan)}

    def shown(self, item: Item, result: Result) -> str:
        """See Maker."""
        return str(result["verdict"]["outcome"])

    def metadata(self, result: Result) -> dict[str, Any]:
        """See Maker."""
        return {}


def verdict(result: Result) -> PairVerdict:
    """The verdict in a result: one without an outcome where a method or the judge failed."""
    kept = result["verdict"]
    if kept is None:
        return PairVerdict(None, None, None, parse_failures=0)
    pairs = {name: None if kept[name] is None else tuple(kept[name]) for name in ("probabilities", "masses")}
    return PairVerdict(kept["outcome"], parse_failures=kept["parse_failures"], **pairs)
