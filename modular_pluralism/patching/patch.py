"""Adding a community to a pool: what changes for each group of people, when all others stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.groups import groups
from modular_pluralism.evaluation.data.items import Item, Kind, OptionItem
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.report.figure_text import figure_text, number_format
from modular_pluralism.evaluation.run.bench import Bench, BenchSettings, OnResult, require_options, untold
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM
from modular_pluralism.evaluation.statistics.clusters import Grouping
from modular_pluralism.evaluation.statistics.comparison import compare
from modular_pluralism.evaluation.statistics.figures import Mask, Measure
from modular_pluralism.evaluation.statistics.kind_measures import deciding
from modular_pluralism.evaluation.statistics.results import Column, Figure, ResultModel, Results, Row, Table
from modular_pluralism.evaluation.statistics.scored_methods import ScoredMethods
from modular_pluralism.evaluation.statistics.summary import results_of
from modular_pluralism.records.populations import population
from modular_pluralism.types import MethodName

WITH: MethodName = "modular"
ATTRIBUTE = "attribute"
"""The grouping by the file's attributes, as they stand there."""

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class PatchSettings(BenchSettings):
    """What is patched: `add` is a community of the pool, which is answered with and without it. `by` names the
    grouping, None for the task's first."""

    add: str
    by: str | None = None


class GroupChange(ResultModel):
    """One group of items, None for all of them: the measure without and with the community, and the paired change
    (with minus without). `worse` and `better` are clear ones, whose interval excludes zero over enough questions."""

    group: str | None
    questions: int
    without: Figure
    with_it: Figure
    change: Figure
    worse: bool = False
    better: bool = False


class PatchResult(ResultModel):
    """All of a patch. `groups` has all items first, then the groups of `grouping`, those that got worse most first.
    `made` and `reused` count the model calls that were made, and those of the pool without the community whose result
    was there already."""

    format: Literal[1] = 1
    community: str
    voice: str
    grouping: str
    measure: Column
    groups: list[GroupChange]
    made: int
    reused: int
    sentence: str
    results: Results


class Patch:
    """A patch that is ready to run: everything has been checked, and no weights have been loaded.

    Raises:
        PluralismError: the task file has no distributions, the pool has no such community, or a setting is unusable.
    """

    def __init__(self, task: TaskFile, settings: PatchSettings) -> None:
        require_options(task, "a patch is measured")
        self.task = task
        self.settings = settings
        self.bench = Bench(task, settings, kind="distributional")
        self.pool = self.bench.pool
        if settings.add not in self.pool.communities:
            raise InputError(
                f"The pool {self.pool.name} has no community {settings.add!r} to add; write a "
                f"[communities.{settings.add}] table into its file, or name one of {', '.join(self.pool.communities)}."
            )
        self.grouping, self._masks = _groups(self.bench.items, task.kind, settings.by)
        # The pool with the community comes first, so that the other finds everything but the pooling done.
        self._caches = [self.bench.counted_cache() for _ in range(2)]
        [whole] = self.bench.makers([WITH], cache=self._caches[0])
        [part] = self.bench.makers([], without=[settings.add], cache=self._caches[1])
        self._check_weights()
        self.without = part.name
        self._makers = [whole, part]

    @property
    def total(self) -> int:
        """Results that there will be when all is done."""
        return len(self.bench.items) * len(self._makers)

    async def run(self, on_result: OnResult = untold) -> PatchResult:
        """Answer every item with and without the community, and compare.

        Raises:
            PluralismError: nothing can be computed.
        """
        return self._result(self.bench.scored(await self.bench.run(self._makers, on_result=on_result)))

    def _check_weights(self) -> None:
        """Without any weight left a pool fails, which would count as the worst answer and let the community win."""
        add = self.settings.add
        others = {name: each for name, each in self.pool.communities.items() if name != add}
        left = self.pool.unchecked(communities=others, priors_by_attribute=self.pool.priors_tables(others))
        for item in self.bench.items:
            assert isinstance(item, OptionItem)
            if len(item.options) > 1 and not any(left.priors_of(population(item.attribute)).values()):
                raise InputError(
                    f"Without {add!r} the pool {self.pool.name} cannot answer item {item.id}, since the prior of "
                    f"{', '.join(others)} is 0; give at least one of them a prior above 0."
                )

    def _result(self, scored: ScoredMethods) -> PatchResult:
        add = self.settings.add
        measure = deciding(scored.measures(directed=True), None)
        everybody = _change(scored, self.without, measure, None, None)
        changes = [_change(scored, self.without, measure, group, mask) for group, mask in self._masks.items()]
        ordered = [everybody, *sorted(changes, key=lambda each: _worst_first(each, measure.column))]
        sentence = _sentence(add, ordered, measure.column)
        results = results_of(
            self.task,
            scored,
            title=f"{self.task.path.stem}: the pool {self.pool.name} with and without {add}",
            run={"added": add, "voice": self.settings.voice, "groups": self.grouping, **self.bench.facts()},
            tables=[_table(add, self.grouping, ordered, measure.column)],
        )
        return PatchResult(
            community=add,
            voice=self.settings.voice,
            grouping=self.grouping,
            measure=measure.column,
            groups=ordered,
            made=sum(cache.computed for cache in self._caches),
            reused=self._caches[1].reused,
            sentence=sentence,
            results=results.model_copy(update={"warnings": [sentence, *results.warnings]}),
        )


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


def _change(scored: ScoredMethods, without: str, measure: Measure, group: str | None, mask: Mask | None) -> GroupChange:
    comparison = compare(scored.methods[WITH], scored.methods[without], measure, scored.draw, only=mask)
    return GroupChange(
        group=group,
        questions=comparison.questions,
        without=comparison.other,
        with_it=comparison.one,
        change=comparison.difference,
        worse=comparison.verdict == "worse",
        better=comparison.verdict == "better",
    )


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
