"""A trial: the same items and the same seeds with the built-in prompts and with variants of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.maker import Result
from modular_pluralism.evaluation.run.outcome import Outcome
from modular_pluralism.evaluation.statistics.results import Results
from modular_pluralism.evaluation.statistics.summary import data_warnings, overall_table, task_facts
from modular_pluralism.prompt_trials.bench import Bench, TrialSettings
from modular_pluralism.prompt_trials.changed_items import changed_most
from modular_pluralism.prompt_trials.compare import compare, deciding, difference_table, measures_of
from modular_pluralism.prompt_trials.counted_cache import CountedCache
from modular_pluralism.prompt_trials.run_items import run_items
from modular_pluralism.prompt_trials.trial_result import Calls, TrialResult
from modular_pluralism.prompt_trials.variant import BUILT_IN, Variant, open_variants


@dataclass
class Trial:
    """A trial that is ready to run: everything has been checked, and no weights have been loaded.

    `shown` is how many of the items that a variant changed most the result has. Memory grows with the items.

    Raises:
        PluralismError: the task file, the pool, a variant or a setting is unusable.
    """

    task: TaskFile
    folders: Sequence[Path]
    settings: TrialSettings = field(default_factory=TrialSettings)
    shown: int = 5

    def __post_init__(self) -> None:
        self.bench = Bench(self.task, self.settings)
        self.variants: list[Variant] = open_variants(self.folders, self.bench.use)
        sets = [(BUILT_IN, self.bench.built_in), *((each.name, each.prompts) for each in self.variants)]
        self._makers = [self.bench.maker(name, prompts) for name, prompts in sets]

    @property
    def total(self) -> int:
        """Results that there will be when all is done."""
        return len(self.bench.items) * len(self._makers)

    async def run(self, on_result: Callable[[Any, Result], None] = lambda _maker, _result: None) -> TrialResult:
        """Answer every item with every set of prompts, and compare.

        Raises:
            PluralismError: nothing can be computed.
        """
        items, kind = self.bench.items, self.task.kind
        outcomes = await run_items(
            [maker for maker, _ in self._makers], items, concurrency=self.settings.concurrency, on_result=on_result
        )
        collected = self.bench.collected(items, outcomes)
        measures = measures_of(kind, collected)
        measure = deciding(measures, self.settings.measure)
        overall = overall_table(kind, collected)
        names = [each.name for each in self.variants]
        counted: list[CountedCache] = [cache for _, cache in self._makers]
        of = {name: cast(list[Outcome], results) for name, results in outcomes.items()}
        return TrialResult(
            measure=measure.column,
            variants=[compare(collected, each.name, each.changed, measure) for each in self.variants],
            calls={
                name: Calls(made=cache.computed, reused=cache.reused)
                for name, cache in zip([BUILT_IN, *names], counted, strict=True)
            },
            items=[
                item for name in names for item in changed_most(kind, name, items, of[BUILT_IN], of[name], self.shown)
            ],
            results=Results(
                title=f"{self.task.path.stem}: {', '.join(names)} against the built-in prompts",
                task=task_facts(self.task, collected),
                run=self.bench.facts() | {f"{each.name} changes": ", ".join(each.changed) for each in self.variants},
                warnings=[*data_warnings(self.task, collected, overall), *self._warnings()],
                tables=[overall, difference_table(collected, names, measures)],
                failures=collected.failures,
                failed=collected.failed,
            ),
        )

    def _warnings(self) -> list[str]:
        if len(self.variants) < 2:
            return []
        return [
            f"{len(self.variants)} variants are compared: of twenty that change nothing, one looks clearly different "
            "by chance. Try the best one again on items that were not used to choose it."
        ]
