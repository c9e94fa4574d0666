"""Fitting the priors of a pool on one half of a task's questions, and judging them on the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import OptionItem
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.measures.distances import js_distance
from modular_pluralism.evaluation.report.figure_text import figure_text, number_format
from modular_pluralism.evaluation.run.bench import Bench, BenchSettings, OnResult, require_options, untold
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, RESAMPLES, Draw
from modular_pluralism.evaluation.statistics.clusters import Grouping, by_question, halve
from modular_pluralism.evaluation.statistics.comparison import Comparison, compare, difference_table
from modular_pluralism.evaluation.statistics.figures import figures, mean_of
from modular_pluralism.evaluation.statistics.results import Column, Figure, ResultModel, Results, Row, Table
from modular_pluralism.evaluation.statistics.scores import Scores
from modular_pluralism.priors.em import Floats, fit_weights, log_likelihood
from modular_pluralism.priors.readings import ReadItem, read_items

UNIFORM, PRESENT, FITTED, BY_ATTRIBUTE = "uniform", "present", "fitted", "fitted by attribute"

_JS = mean_of(
    "js", "JS distance", "Square root of the Jensen-Shannon divergence, base e; 0.8326 at most.", better="lower"
)
_LOG = mean_of(
    "log_likelihood",
    "log-likelihood",
    "Mean over the items of the real distribution's log-likelihood under the pool, in nats; what is maximised.",
    better="higher",
)
_MEASURES = [_JS, _LOG]


GainVerdict = Literal["gain", "loss", "same", "unclear", "too few questions"]
"""Of the fitted weights against uniform ones, on the questions that were held back."""

_VERDICTS: Mapping[str, GainVerdict] = {
    "better": "loss",
    "worse": "gain",
    "same": "same",
    "unclear": "unclear",
    "too few questions": "too few questions",
}
"""Of the fitted weights, by what is said of the uniform ones against them."""


@dataclass(frozen=True, kw_only=True)
class FitSettings(BenchSettings):
    """How weights are fitted: on half of the questions. `by_attribute` fits weights of its own for each attribute with
    `least` questions in that half."""

    by_attribute: bool = False
    least: int = CLEAR_FROM


class FittedPriors(ResultModel):
    """Weights by community, which sum to 1, and the number of items and questions that they were fitted on. `gap` is
    how much better than them other weights could fit these items at most, in nats an item."""

    weights: dict[str, float]
    items: int
    questions: int
    gap: float


class PriorsResult(ResultModel):
    """All of a fit. `overall` are for every attribute, and `by_attribute` for those that had enough questions; `few`
    are the others. `gain` is the JS distance of uniform weights minus that of the fitted ones, paired over the
    questions that were held back, so that more is better. `results` has all tables."""

    format: Literal[1] = 1
    voice: str
    overall: FittedPriors
    by_attribute: dict[str, FittedPriors]
    few: list[str]
    gain: Figure
    verdict: GainVerdict
    sentence: str
    results: Results


class PriorsFit:
    """A fit that is ready to run: everything has been checked, and no weights of a model have been loaded.

    Raises:
        PluralismError: the task file has no distributions, the pool cannot be used, or there is nothing to fit.
    """

    def __init__(self, task: TaskFile, settings: FitSettings | None = None) -> None:
        require_options(task, "weights are fitted")
        self.task = task
        self.settings = settings or FitSettings()
        self.bench = Bench(task, self.settings, kind="distributional")
        self.pool = self.bench.pool
        if len(self.pool.communities) < 2:
            raise InputError("The pool has a single community, whose weight is 1 in any case; give a pool with more.")
        # With a single option there is nothing that weights could change.
        self.items = [item for item in self.bench.items if isinstance(item, OptionItem) and len(item.options) > 1]
        self._training, _ = halve(self.items, self.settings.seed)
        self._setting = self.bench.setting()

    @property
    def total(self) -> int:
        """Items that will be read."""
        return len(self.items)

    async def run(self, on_result: OnResult = untold) -> PriorsResult:
        """Read what every community gives for every item, fit on one half, and judge on the other.

        Raises:
            PluralismError: nothing can be read, or no item is left to fit on or to judge by.
        """
        read = await read_items(self.items, self._setting, concurrency=self.settings.concurrency, on_result=on_result)
        training_ids = {item.id for item in self._training}
        known = [each for each in read if each.answered is not None]
        training = [each for each in known if each.item.id in training_ids]
        held_back = [each for each in known if each.item.id not in training_ids]
        failed = [each for each in read if each.answered is None]
        if not training or not held_back:
            reason = failed[0].error if failed else "There are too few items."
            raise InputError(f"No item is left to fit weights on, or to judge them by. {reason}")
        return self._result(training, held_back, failed)

    def _result(
        self, training: Sequence[ReadItem], held_back: Sequence[ReadItem], failed: Sequence[ReadItem]
    ) -> PriorsResult:
        overall = self._priors(training)
        by_attribute, few = self._by_attribute(training)
        pools = self._pools(overall, by_attribute)
        scores = {name: _scores(held_back, weights) for name, weights in pools.items()}
        draw = Draw(self.settings.seed, RESAMPLES, _questions(held_back).of_items())
        chosen = BY_ATTRIBUTE if BY_ATTRIBUTE in pools else FITTED
        # The uniform ones minus the fitted ones, so that a gain is above zero.
        gain = compare(scores[UNIFORM], scores[chosen], _JS, draw)
        verdict = _VERDICTS[gain.verdict]
        return PriorsResult(
            voice=self.settings.voice,
            overall=overall,
            by_attribute=by_attribute,
            few=few,
            gain=gain.difference,
            verdict=verdict,
            sentence=_sentence(verdict, chosen, gain),
            results=Results(
                title=f"{self.task.path.stem}: priors of the pool {self.pool.name}",
                task={
                    "file": self.task.path.name,
                    "items": self.task.count,
                    "sha256": self.task.digest,
                    "items fitted on": len(training),
                    "items held back": len(held_back),
                },
                run={"voice": self.settings.voice, **self.bench.facts()},
                warnings=self._warnings(failed, few, overall, by_attribute),
                tables=[
                    self._weights_table(overall, by_attribute),
                    _held_out_table(scores, draw, gain.questions),
                    _differences_table(scores, draw),
                ],
            ),
        )

    def _priors(self, training: Sequence[ReadItem]) -> FittedPriors:
        fitted = fit_weights([each.answered for each in training if each.answered is not None])
        return FittedPriors(
            weights=dict(zip(self.pool.communities, map(float, fitted.weights), strict=True)),
            items=len(training),
            questions=_questions(training).count,
            gap=fitted.gap,
        )

    def _by_attribute(self, training: Sequence[ReadItem]) -> tuple[dict[str, FittedPriors], list[str]]:
        if not self.settings.by_attribute:
            return {}, []
        groups: dict[str, list[ReadItem]] = {}
        for each in training:
            if each.attribute is not None:
                groups.setdefault(each.attribute, []).append(each)
        if not groups:
            raise InputError("No item has an attribute that the models are told; leave --by-attribute out.")
        enough = {name: group for name, group in groups.items() if _questions(group).count >= self.settings.least}
        fitted = {name: self._priors(enough[name]) for name in sorted(enough)}
        return fitted, sorted(set(groups) - set(enough))

    def _pools(
        self, overall: FittedPriors, by_attribute: Mapping[str, FittedPriors]
    ) -> dict[str, Callable[[str | None], Floats]]:
        """The weights for an attribute, by what they are called. Those that the pool has now are there where they are
        not uniform."""
        names = list(self.pool.communities)
        uniform = np.full(len(names), 1 / len(names))
        one = _vector(overall.weights, names)
        of_attribute = {name: _vector(each.weights, names) for name, each in by_attribute.items()}
        pools: dict[str, Callable[[str | None], Floats]] = {UNIFORM: lambda _: uniform}
        if len(set(self.pool.priors.values())) > 1 or self.pool.priors_by_attribute:
            pools[PRESENT] = lambda attribute: _vector(self.pool.priors_of(attribute), names)
        pools[FITTED] = lambda _: one
        if by_attribute:
            pools[BY_ATTRIBUTE] = lambda attribute: of_attribute.get(attribute or "", one)
        return pools

    def _weights_table(self, overall: FittedPriors, by_attribute: Mapping[str, FittedPriors]) -> Table:
        columns = [
            Column(key="present", title="present prior", help="As the pool has it now, normalised."),
            Column(key="fitted", title="fitted", help="On the half of the questions that was not held back."),
            *(Column(key=f"of {name}", title=name, help="Fitted on its items alone.") for name in by_attribute),
        ]
        rows = []
        for name, present in self.pool.priors.items():
            fitted = {"fitted": overall, **{f"of {each}": by_attribute[each] for each in by_attribute}}
            cells = {key: Figure(value=each.weights[name], n=each.items) for key, each in fitted.items()}
            rows.append(Row(name=name, cells={"present": Figure(value=present, n=overall.items), **cells}))
        return Table(name="weights", title="Weights", columns=columns, rows=rows)

    def _warnings(
        self,
        failed: Sequence[ReadItem],
        few: Sequence[str],
        overall: FittedPriors,
        by_attribute: Mapping[str, FittedPriors],
    ) -> list[str]:
        warnings = []
        if failed:
            warnings.append(
                f"{len(failed)} of {self.total} items are left out, since a community gave nothing for them; the "
                f"first: {failed[0].error}"
            )
        if overall.questions < CLEAR_FROM:
            warnings.append(
                f"The weights are fitted on {overall.questions} questions only; with so few they mostly follow chance."
            )
        if self.settings.by_attribute and not by_attribute:
            warnings.append(
                f"No attribute has {self.settings.least} questions among those that were fitted on, so there are no "
                "weights by attribute; give more items, or a lower --least."
            )
        elif few:
            warnings.append(
                f"{len(few)} attributes have fewer than {self.settings.least} questions among those that were fitted "
                "on; the weights for all stand for them."
            )
        return warnings


def _vector(weights: Mapping[str, float], names: Sequence[str]) -> Floats:
    return np.array([weights[name] for name in names])


def _questions(items: Sequence[ReadItem]) -> Grouping:
    return by_question(each.item for each in items)


def _scores(items: Sequence[ReadItem], weights: Callable[[str | None], Floats]) -> Scores:
    scores = Scores()
    for each in items:
        assert each.answered is not None
        of_item = weights(each.attribute)
        pooled = of_item @ each.answered.read
        scores.add(
            {
                "js": js_distance(each.item.gold, pooled.tolist()),
                "log_likelihood": log_likelihood(each.answered, of_item),
            }
        )
    return scores


def _held_out_table(scores: Mapping[str, Scores], draw: Draw, questions: int) -> Table:
    return Table(
        name="held_out",
        title="On the questions that were held back",
        note=f"The intervals are 95 % percentile bootstrap intervals that resample {questions} distinct "
        f"question{'s' * (questions != 1)}, each with all of its items.",
        columns=[measure.column for measure in _MEASURES],
        rows=[Row(name=name, cells=figures(each, _MEASURES, draw)) for name, each in scores.items()],
        chart="js",
    )


def _differences_table(scores: Mapping[str, Scores], draw: Draw) -> Table:
    pairs = [(one, other) for one in (FITTED, BY_ATTRIBUTE) for other in scores if one in scores and other != one]
    pairs = [(one, other) for one, other in pairs if other != BY_ATTRIBUTE]
    return difference_table("Differences between weights", pairs, scores, _MEASURES, draw)


def _sentence(verdict: GainVerdict, chosen: str, gain: Comparison) -> str:
    weights = "The weights fitted by attribute" if chosen == BY_ATTRIBUTE else "The fitted weights"
    told = {
        "gain": f"{weights} are better than uniform ones",
        "loss": f"{weights} are worse than uniform ones, so there is no gain",
        "same": f"{weights} give the same as uniform ones, so there is no gain",
        "unclear": f"{weights} show no clear gain over uniform ones: the interval holds zero",
        "too few questions": f"{weights} cannot be told from uniform ones with fewer than {CLEAR_FROM} questions held "
        "back",
    }[verdict]
    write = number_format(_JS.column, [gain.one, gain.other])
    change = figure_text(gain.difference, number_format(_JS.column, [gain.difference]))
    return (
        f"{told}. On {gain.difference.n} items of {gain.questions} question{'s' * (gain.questions != 1)} that were "
        f"held back, the JS distance is {figure_text(gain.other, write).value}, with uniform weights "
        f"{figure_text(gain.one, write).value}; paired gain {change.value} {change.interval}".rstrip()
        + "."
    )
