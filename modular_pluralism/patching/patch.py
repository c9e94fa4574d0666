"""Adding a community to a pool: what changes for each group of people, when all others stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, cast

import numpy as np
from langchain_core.language_models.chat_models import BaseChatModel

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.groups import groups, population
from modular_pluralism.evaluation.data.items import Item, Kind, OptionItem
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.report.figure_text import figure_text, number_format
from modular_pluralism.evaluation.run.fitted_pool import fitted_pool
from modular_pluralism.evaluation.run.maker import Result
from modular_pluralism.evaluation.run.method_maker import MethodMaker
from modular_pluralism.evaluation.run.methods import Method, MethodName, Scoring, Setting, build_methods
from modular_pluralism.evaluation.run.outcome import Outcome
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, RESAMPLES
from modular_pluralism.evaluation.statistics.collected import Collected, Grouping
from modular_pluralism.evaluation.statistics.measured import Mask, Measure, differences, figures
from modular_pluralism.evaluation.statistics.results import Column, Figure, Results, Row, Table
from modular_pluralism.evaluation.statistics.summary import data_warnings, overall_table, task_facts
from modular_pluralism.graphs.node_cache import NodeCache
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.patching.patch_result import GroupChange, PatchResult
from modular_pluralism.pool import Pool
from modular_pluralism.prompt_trials.compare import deciding, measures_of
from modular_pluralism.prompt_trials.counted_cache import CountedCache
from modular_pluralism.prompt_trials.run_items import run_items
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Voice

WITH: MethodName = "modular"
ATTRIBUTE = "attribute"
"""The grouping by the file's attributes, as they stand there."""

_NAMED = 5
_NODES_PER_COMMUNITY = 3
_OTHER_NODES = 4
"""The check and the pooling, with and without the community."""


@dataclass(frozen=True)
class PatchSettings:
    """What is patched, and how: `add` is a community of the pool, which is answered with and without it on the first
    `limit` items (None: all), `concurrency` of them at once. `by` names the grouping, None for the task's first.
    `models` puts chat models in the place of the pool's tables."""

    add: str
    pool: Pool | str = "perspective"
    voice: Voice = "comment"
    scoring: Scoring = "rotate"
    by: str | None = None
    limit: int | None = None
    seed: int = 0
    concurrency: int = 8
    comment_tokens: int | None = None
    repeatable: bool = False
    models: Mapping[str, BaseChatModel] | None = None


@dataclass
class Patch:
    """A patch that is ready to run: everything has been checked, and no weights have been loaded.

    Raises:
        PluralismError: the task file has no distributions, the pool has no such community, or a setting is unusable.
    """

    task: TaskFile
    settings: PatchSettings

    def __post_init__(self) -> None:
        settings = self.settings
        if self.task.kind not in ("distributional", "steerable-opinion"):
            raise InputError(
                f"{self.task.path} is a file of the kind {self.task.kind}; a patch is measured on option "
                "distributions, so give a file with options and gold_distribution."
            )
        pool = settings.pool if isinstance(settings.pool, Pool) else Pool.load(settings.pool)
        if settings.add not in pool.communities:
            raise InputError(
                f"The pool {pool.name} has no community {settings.add!r} to add; write a [communities.{settings.add}] "
                f"table into its file, or name one of {', '.join(pool.communities)}."
            )
        self.pool = fitted_pool(
            pool,
            style="chat",
            comment_tokens=settings.comment_tokens,
            answer_tokens=None,
            repeatable=settings.repeatable,
        )
        self._models = PoolModels(self.pool, settings.models)
        self._models.check()
        self.items: list[Item] = list(self.task.items(settings.limit))
        self.grouping, self._masks = _groups(self.items, self.task.kind, settings.by)
        per_item = _NODES_PER_COMMUNITY * len(pool.communities) + _OTHER_NODES
        self._cache = NodeCache(most=max(1, per_item * len(self.items)))
        # The pool with the community comes first, so that the other finds everything but the pooling done.
        self._caches = [CountedCache(self._cache), CountedCache(self._cache)]
        whole, part = self._methods()
        self._check_weights()
        self.without = part.name
        self._makers = [MethodMaker(method, None) for method in (whole, part)]

    @property
    def total(self) -> int:
        """Results that there will be when all is done."""
        return len(self.items) * len(self._makers)

    async def run(self, on_result: Callable[[Any, Result], None] = lambda _maker, _result: None) -> PatchResult:
        """Answer every item with and without the community, and compare.

        Raises:
            PluralismError: nothing can be computed.
        """
        outcomes = await run_items(self._makers, self.items, concurrency=self.settings.concurrency, on_result=on_result)

        def of(name: str) -> Iterator[Outcome]:
            return iter(cast(list[Outcome], outcomes[name]))

        collected = Collected(
            self.task.kind,
            lambda: iter(self.items),
            of,
            [WITH, self.without],
            seed=self.settings.seed,
            resamples=RESAMPLES,
        )
        return self._result(collected)

    def _methods(self) -> tuple[Method, Method]:
        versions: list[tuple[list[MethodName], list[str], CountedCache]] = [
            ([WITH], [], self._caches[0]),
            ([], [self.settings.add], self._caches[1]),
        ]
        whole, part = (
            build_methods(
                names,
                Setting(
                    kind="distributional",
                    pool=self.pool,
                    models=self._models,
                    prompts=PromptSet.load(),
                    scoring=self.settings.scoring,
                    seed=self.settings.seed,
                    cache=cache,
                    voice=self.settings.voice,
                ),
                without=without,
            )[0]
            for names, without, cache in versions
        )
        return whole, part

    def _check_weights(self) -> None:
        """Without any weight left a pool fails, which would count as the worst answer and let the community win."""
        add = self.settings.add
        others = {name: each for name, each in self.pool.communities.items() if name != add}
        left = self.pool.model_copy(
            update={"communities": others, "priors_by_attribute": self.pool.priors_tables(others)}
        )
        for item in self.items:
            assert isinstance(item, OptionItem)
            if len(item.options) > 1 and not any(left.priors_of(population(item.attribute)).values()):
                raise InputError(
                    f"Without {add!r} the pool {self.pool.name} cannot answer item {item.id}, since the prior of "
                    f"{', '.join(others)} is 0; give at least one of them a prior above 0."
                )

    def _result(self, collected: Collected) -> PatchResult:
        measure = deciding([each for each in measures_of(self.task.kind, collected) if _is_distance(each)], None)
        everybody = _change(collected, self.without, measure, None, None)
        changes = [_change(collected, self.without, measure, group, mask) for group, mask in self._masks.items()]
        ordered = [everybody, *sorted(changes, key=lambda each: _worst_first(each, measure.column))]
        sentence = _sentence(self.settings.add, ordered, measure.column)
        overall = overall_table(self.task.kind, collected)
        return PatchResult(
            community=self.settings.add,
            voice=self.settings.voice,
            grouping=self.grouping,
            measure=measure.column,
            groups=ordered,
            made=sum(cache.computed for cache in self._caches),
            reused=self._caches[1].reused,
            sentence=sentence,
            results=Results(
                title=f"{self.task.path.stem}: the pool {self.pool.name} with and without {self.settings.add}",
                task=task_facts(self.task, collected),
                run=self._facts(),
                warnings=[sentence, *data_warnings(self.task, collected, overall)],
                tables=[_table(self.settings.add, self.grouping, ordered, measure.column)],
                failures=collected.failures,
                failed=collected.failed,
            ),
        )

    def _facts(self) -> dict[str, Any]:
        settings, run = self.settings, self.pool.run
        return {
            "pool": self.pool.name,
            "added": settings.add,
            "others": ", ".join(name for name in self.pool.communities if name != settings.add),
            "base LLM": self.pool.base,
            "voice": settings.voice,
            "scoring": settings.scoring,
            "groups": self.grouping,
            "seed": settings.seed,
            "comment tokens": run.comment_tokens,
            "modular-pluralism": version("modular-pluralism"),
        }


def _groups(items: Sequence[Item], kind: Kind, by: str | None) -> tuple[str, dict[str, Mask]]:
    """The grouping's name, and by group which items are in it."""
    known: dict[str, Grouping] = {}
    for item in items:
        assert isinstance(item, OptionItem)
        for grouping, group in {**groups(item, kind), ATTRIBUTE: item.attribute}.items():
            known.setdefault(grouping, Grouping()).add(group)
    name = next(iter(known)) if by is None else by
    if name not in known:
        raise InputError(f"These items have no grouping {name!r}; give --by {', '.join(known)}, or leave it out.")
    return name, known[name].masks()


def _is_distance(measure: Measure) -> bool:
    return measure.column.key in ("js", "js_worst")


def _change(collected: Collected, without: str, measure: Measure, group: str | None, mask: Mask | None) -> GroupChange:
    whole, part = collected.methods[WITH], collected.methods[without]
    key = measure.column.key
    both = measure.valid(whole) & measure.valid(part)
    both = both if mask is None else both & mask
    questions = len(np.unique(collected.questions.of_items()[both]))
    change = differences(whole, part, [measure], collected.draw, only=mask)[key]
    # A percentile interval over few questions is too narrow, whatever it excludes.
    clear = change.clear and change.value is not None
    return GroupChange(
        group=group,
        questions=questions,
        without=figures(part, [measure], collected.draw, only=mask)[key],
        with_it=figures(whole, [measure], collected.draw, only=mask)[key],
        change=change,
        worse=clear and _is_worse(change, measure.column),
        better=clear and not _is_worse(change, measure.column),
    )


def _is_worse(change: Figure, column: Column) -> bool:
    return change.value is not None and (change.value > 0) == (column.better == "lower")


def _worst_first(change: GroupChange, column: Column) -> tuple[bool, float, str]:
    value = change.change.value
    if value is None:
        return True, 0.0, change.group or ""
    return False, -value if column.better == "lower" else value, change.group or ""


def _table(community: str, grouping: str, changes: Sequence[GroupChange], measure: Column) -> Table:
    columns = [
        Column(
            key="change",
            title="change",
            better=measure.better,
            help=f"{measure.title} with {community} minus that without, paired on the same items; below zero, "
            f"{community} helps.",
        ),
        Column(key="without", title="without", better=measure.better, help=f"{measure.title} without {community}."),
        Column(key="with", title="with", better=measure.better, help=f"{measure.title} with {community}."),
        Column(key="questions", title="questions", help="Distinct questions of the group."),
    ]
    rows = [
        Row(
            name=each.group or "all",
            cells={
                "change": each.change,
                "without": each.without,
                "with": each.with_it,
                "questions": Figure(value=float(each.questions), n=each.change.n),
            },
        )
        for each in changes
    ]
    return Table(
        name="patch",
        title=f"What {community} changes, by {grouping}",
        note=f"All items first, then the groups that got worse most. {measure.help} The intervals are 95 % percentile "
        "bootstrap intervals that resample questions, each with all of its items; only where one excludes zero is a "
        f"change clear, and never with fewer than {CLEAR_FROM} questions. Of many groups, one in twenty is clear by "
        "chance even where nothing has changed.",
        columns=columns,
        rows=rows,
        chart="change",
    )


def _sentence(community: str, changes: Sequence[GroupChange], measure: Column) -> str:
    everybody, *others = changes
    worse = [each.group or "" for each in others if each.worse]
    better = [each.group or "" for each in reversed(others) if each.better]
    told = f"Clearly worse with {community}: {_listed(worse)}. Clearly better: {_listed(better)}."
    if everybody.change.value is None:
        return f"{told} Over all items there is no change to be told."
    change = figure_text(everybody.change, number_format(measure, [everybody.change]))
    return f"{told} Over all items {measure.title} changes by {change.value} {change.interval}".rstrip() + "."


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "no group"
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
