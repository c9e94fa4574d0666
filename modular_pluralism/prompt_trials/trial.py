"""A trial: the same items and the same seeds with the built-in prompts and with variants of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from modular_pluralism.evaluation.data.items import Item, Kind
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.bench import OnResult, untold
from modular_pluralism.evaluation.statistics.examples import ITEM_MEASURE, item_score
from modular_pluralism.evaluation.statistics.kind_measures import deciding
from modular_pluralism.evaluation.statistics.summary import overall_table, results_of
from modular_pluralism.prompt_trials.bench import TrialBench, TrialSettings
from modular_pluralism.prompt_trials.compare import built_in_differences, compare_with_built_in
from modular_pluralism.prompt_trials.result_models import CallCounts, ChangedItem, ItemAnswer, TrialResult
from modular_pluralism.prompt_trials.variants import BUILT_IN, open_variants


class Trial:
    """A trial that is ready to run: everything has been checked, and no weights have been loaded.

    `shown` is how many of the items that a variant changed most the result has. Memory grows with the items.

    Raises:
        PluralismError: the task file, the pool, a variant or a setting is unusable.
    """

    def __init__(
        self, task: TaskFile, folders: Sequence[Path], settings: TrialSettings | None = None, *, shown: int = 5
    ) -> None:
        self.bench = TrialBench(task, settings or TrialSettings())
        self.shown = shown
        self.variants = open_variants(
            folders,
            self.bench.prompts,
            self.bench.changed,
            style=self.bench.settings.style,
            otherwise=f"The method {self.bench.settings.method} uses {', '.join(sorted(self.bench.used))} on this "
            "task; change one of these, or take another --method.",
        )
        sets = [(BUILT_IN, self.bench.prompts), *((each.name, each.prompts) for each in self.variants)]
        self._makers = [self.bench.maker(name, prompts) for name, prompts in sets]

    @property
    def total(self) -> int:
        """Results that there will be when all is done."""
        return len(self.bench.items) * len(self._makers)

    async def run(self, on_result: OnResult = untold) -> TrialResult:
        """Answer every item with every set of prompts, and compare.

        Raises:
            PluralismError: nothing can be computed.
        """
        bench = self.bench
        outcomes = await bench.run([maker for maker, _ in self._makers], on_result=on_result)
        scored = bench.scored(outcomes)
        measure = deciding(scored.measures(directed=True), bench.settings.measure)
        names = [each.name for each in self.variants]
        of = {name: cast(list[Outcome], results) for name, results in outcomes.items()}
        return TrialResult(
            measure=measure.column,
            variants=[compare_with_built_in(scored, each.name, each.changed, measure) for each in self.variants],
            calls={maker.name: CallCounts(made=cache.computed, reused=cache.reused) for maker, cache in self._makers},
            items=[
                item
                for name in names
                for item in _changed_most(bench.kind, name, bench.items, of[BUILT_IN], of[name], self.shown)
            ],
            results=results_of(
                bench.task,
                scored,
                title=f"{bench.task.path.stem}: {', '.join(names)} against the built-in prompts",
                run=bench.facts() | {f"{each.name} changes": ", ".join(each.changed) for each in self.variants},
                tables=[
                    overall_table(scored),
                    built_in_differences("Differences from the built-in prompts", scored, names),
                ],
                warnings=self._warnings(),
            ),
        )

    def _warnings(self) -> list[str]:
        if len(self.variants) < 2:
            return []
        return [
            f"{len(self.variants)} variants are compared: of twenty that change nothing, one looks clearly different "
            "by chance. Try the best one again on items that were not used to choose it."
        ]


def _changed_most(
    kind: Kind, variant: str, items: Sequence[Item], built_in: Sequence[Outcome], other: Sequence[Outcome], shown: int
) -> list[ChangedItem]:
    """The `shown` items whose score changed most, the largest change first; items that did not change are left out."""
    changes = list(_changes(kind, variant, items, built_in, other))
    return sorted(changes, key=lambda each: -abs(each.change))[:shown]


def _changes(
    kind: Kind, variant: str, items: Sequence[Item], built_in: Sequence[Outcome], other: Sequence[Outcome]
) -> Iterator[ChangedItem]:
    for item, before, after in zip(items, built_in, other, strict=True):
        scores = item_score(kind, item, before), item_score(kind, item, after)
        if scores[0] is None or scores[1] is None or scores[0] == scores[1]:
            continue
        yield ChangedItem(
            variant=variant,
            id=item.id,
            question=item.question,
            attribute=item.attribute,
            options=list(item.options),
            gold=list(item.gold),
            measure=ITEM_MEASURE[kind][1],
            change=scores[1] - scores[0],
            built_in=_answer(scores[0], before),
            other=_answer(scores[1], after),
        )


def _answer(score: float, outcome: Outcome) -> ItemAnswer:
    prediction = outcome["prediction"]
    return ItemAnswer(
        score=score,
        predicted=None if prediction is None else prediction["rotate"],
        answer=outcome["answer"],
        selected=outcome["selected"],
        error=outcome["error"],
    )
