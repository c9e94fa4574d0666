"""What a trial and a search have in common: a task, a method over a pool, and how outcomes are made of prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import Any, cast

from langchain_core.language_models.chat_models import BaseChatModel

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.measures.entailment import PAPER_MODEL
from modular_pluralism.evaluation.measures.named import open_measure
from modular_pluralism.evaluation.run.fitted_pool import fitted_pool
from modular_pluralism.evaluation.run.maker import Result
from modular_pluralism.evaluation.run.method_maker import MethodMaker, OvertonMeasures
from modular_pluralism.evaluation.run.methods import MethodName, Scoring, Setting, build_methods
from modular_pluralism.evaluation.run.outcome import Outcome
from modular_pluralism.evaluation.statistics.bootstrap import RESAMPLES
from modular_pluralism.evaluation.statistics.collected import Collected
from modular_pluralism.graphs.node_cache import NodeCache
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Pool
from modular_pluralism.prompt_trials.compare import check_measure
from modular_pluralism.prompt_trials.counted_cache import CountedCache
from modular_pluralism.prompt_trials.variant import InUse
from modular_pluralism.prompts import PromptSet, Style

_NODES_PER_ITEM = 64
"""Nodes of one item that are worth keeping: the comments and scores of a large pool."""


@dataclass(frozen=True)
class TrialSettings:
    """How prompts are tried: `method` answers the first `limit` items (None: all), `concurrency` of them at once.

    `measure` is the key of the measure that decides, None for the task's first. `style` "completion" sends plain text.
    `comment_tokens` and `answer_tokens` replace the pool's, `repeatable` gives the same texts whatever runs beside
    them, and `nli` names the measure of value coverage, for Overton tasks alone. `models` puts chat models in the place
    of the pool's tables.
    """

    method: MethodName = "modular"
    pool: Pool | str = "perspective"
    limit: int | None = None
    seed: int = 0
    concurrency: int = 8
    scoring: Scoring = "rotate"
    style: Style = "chat"
    comment_tokens: int | None = None
    answer_tokens: int | None = None
    repeatable: bool = False
    nli: str | None = None
    measure: str | None = None
    models: Mapping[str, BaseChatModel] | None = None


@dataclass
class Bench:
    """A task with everything that its items are answered with, except for the prompts; no weights are loaded yet.

    Raises:
        PluralismError: the pool or a setting is unusable.
    """

    task: TaskFile
    settings: TrialSettings
    pool: Pool = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        if self.task.kind != "overton" and settings.nli is not None:
            raise InputError("--nli is for Overton task files; leave it out, or give such a file.")
        check_measure(self.task.kind, settings.measure)
        self.pool = self._fitted(settings.style)
        self._models = PoolModels(self.pool, settings.models)
        self._models.check()
        self.items: list[Item] = list(self.task.items(settings.limit))
        self._cache = NodeCache(most=_NODES_PER_ITEM * max(len(self.items), 1))

    @cached_property
    def built_in(self) -> PromptSet:
        """The prompts that everything is compared with."""
        return PromptSet.load(style=self.settings.style)

    @property
    def use(self) -> InUse:
        """What decides which prompts are in use."""
        settings = self.settings
        return InUse(self.task.kind, settings.method, settings.scoring, settings.style, self.pool)

    @cached_property
    def overton(self) -> OvertonMeasures | None:
        """How Overton answers are measured: with the built-in prompts, whatever prompts are tried.

        Raises:
            ModelLoadError: the measure's model, or a library that it needs, is not there.
        """
        if self.task.kind != "overton":
            return None
        pool, prompts = self._fitted("chat"), PromptSet.load()
        nli = PAPER_MODEL if self.settings.nli is None else self.settings.nli
        return OvertonMeasures(
            entailment=open_measure(nli, pool=pool, prompts=prompts, models=self.settings.models),
            judge=None,
            prompts=prompts,
            caller=Caller(attempts=self.pool.run.attempts, deadline=self.pool.run.deadline),
        )

    def maker(self, name: str, prompts: PromptSet) -> tuple[MethodMaker, CountedCache]:
        """What answers items with these prompts, under that name, and the count of its model calls. All makers of a
        bench take from each other what does not depend on their prompts."""
        cache = CountedCache(self._cache)
        settings = self.settings
        setting = Setting(
            kind=self.task.kind,
            pool=self.pool,
            models=self._models,
            prompts=prompts,
            scoring=settings.scoring,
            seed=settings.seed,
            cache=cache,
        )
        method = build_methods([settings.method], setting)[0]
        method.name = name
        return MethodMaker(method, self.overton), cache

    def collected(self, items: Sequence[Item], outcomes: Mapping[str, list[Result]]) -> Collected:
        """The numbers of these outcomes, by the names of their makers; the intervals are drawn with the seed."""

        def of(name: str) -> Iterator[Outcome]:
            return iter(cast(list[Outcome], outcomes[name]))

        return Collected(
            self.task.kind,
            lambda: iter(items),
            of,
            list(outcomes),
            seed=self.settings.seed,
            resamples=RESAMPLES,
        )

    def facts(self) -> dict[str, Any]:
        """What was run, and how."""
        settings, run = self.settings, self.pool.run
        facts = {
            "method": settings.method,
            "pool": self.pool.name,
            "communities": ", ".join(self.pool.communities),
            "base LLM": self.pool.base,
            "scoring": settings.scoring,
            "style": settings.style,
            "seed": settings.seed,
            "comment tokens": run.comment_tokens,
            "answer tokens": run.answer_tokens,
            "repeatable": settings.repeatable,
            "modular-pluralism": version("modular-pluralism"),
        }
        return facts if self.overton is None else {**facts, "entailment": self.overton.entailment.name}

    def _fitted(self, style: Style) -> Pool:
        settings = self.settings
        return fitted_pool(
            settings.pool if isinstance(settings.pool, Pool) else Pool.load(settings.pool),
            style=style,
            comment_tokens=settings.comment_tokens,
            answer_tokens=settings.answer_tokens,
            repeatable=settings.repeatable,
        )
