"""A method as a maker of outcomes: it answers an item, and an Overton answer is measured at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import cast

from modular_pluralism.errors import ConfigurationError, PluralismError
from modular_pluralism.evaluation.data.items import STANCES, Item, OptionItem, OvertonItem, ValueItem
from modular_pluralism.evaluation.measures.coverage import coverage
from modular_pluralism.evaluation.measures.distances import js_distance, most_likely_agrees
from modular_pluralism.evaluation.measures.entailment import Counts, EntailmentMeasure
from modular_pluralism.evaluation.measures.judge import CRITERIA, rate, ratings_as_measures
from modular_pluralism.evaluation.run.maker import Result
from modular_pluralism.evaluation.run.methods import Method
from modular_pluralism.evaluation.run.named_model import OpenModel
from modular_pluralism.evaluation.run.outcome import Outcome, Prediction
from modular_pluralism.models.calls import Caller
from modular_pluralism.option_math import letters, most_likely
from modular_pluralism.prompts import PromptSet


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

    def scores(self, item: Item, result: Result) -> Mapping[str, float]:
        """See Maker: NaN where the item has none of that name."""
        prediction: Prediction | None = result["prediction"]
        match item:
            case OptionItem() if prediction is not None:
                return {
                    "js_distance": js_distance(item.gold, prediction["rotate"]),
                    "most_likely": float(most_likely_agrees(item.gold, prediction["rotate"])),
                }
            case ValueItem() if prediction is not None:
                return {"accuracy": float(stance(prediction) == item.label)}
            case _:
                names = ("coverage", "comment_coverage", "perspective_score", *(f"rating_{name}" for name in CRITERIA))
                return {name: result["measures"].get(name, math.nan) for name in names}

    def shown(self, item: Item, result: Result) -> str:
        """See Maker."""
        prediction: Prediction | None = result["prediction"]
        if prediction is None:
            return str(result["answer"])
        options = item.options if isinstance(item, OptionItem) else STANCES
        return "\n".join(
            f"{share:.3f}  {letter}. {option}"
            for letter, option, share in zip(letters(len(options)), options, prediction["rotate"], strict=True)
        )


def stance(prediction: Prediction) -> str:
    """The letter of the likeliest stance."""
    return "ABC"[most_likely(prediction["rotate"])]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
