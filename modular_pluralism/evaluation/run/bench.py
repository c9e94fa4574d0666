"""The bench: items of a task file with all that they are answered with, whatever is found out about them.

Evaluations, trials of prompts, fits of priors and patches stand on it. Each adds to the settings what it alone needs.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, cast

from langchain_core.language_models.chat_models import BaseChatModel
from langgraph.cache.base import BaseCache

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import Item, Kind
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.measures.entailment import PAPER_MODEL
from modular_pluralism.evaluation.measures.judge import named_model
from modular_pluralism.evaluation.measures.named import open_measure
from modular_pluralism.evaluation.run.counted_cache import CountedCache
from modular_pluralism.evaluation.run.makers import Maker, OvertonMeasures, Result
from modular_pluralism.evaluation.run.methods import Method, Setting, build_methods
from modular_pluralism.evaluation.statistics.bootstrap import RESAMPLES
from modular_pluralism.evaluation.statistics.scored_methods import ScoredMethods
from modular_pluralism.graphs.node_cache import NodeCache
from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.llama.host import usable_memory
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import EmbeddedModel, LangChainModel, Pool, RemoteModel
from modular_pluralism.prompts import PromptSet, Style
from modular_pluralism.types import ItemScoring, MethodName, Voices

_MUCH_MEMORY = 8 * 2**30
_CACHE_GIB = 2.0
"""Cache of an embedded model where the host has much memory and the pool says nothing: room for some forty sequences of
2,048 tokens of the demo model, against eleven with the default."""

_NODES_PER_COMMUNITY, _OTHER_NODES = 8, 16
"""Of one item, what is worth keeping: what several methods or sets of prompts compute for each community, and else."""

_ANSWERING = ("vanilla", "prompting_overton", "moe", "merge")
"""The prompts to which an Overton answer is the reply."""

OnResult: TypeAlias = Callable[[Any, Result], None]
"""Told of each result that was made, with its maker."""

AnItem = TypeVar("AnItem")
Made = TypeVar("Made")


def untold(maker: Any, result: Result) -> None:
    """Nobody is told of a result."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """With what items are answered, and how.

    `pool` is a pool, a built-in one's name, or its file; `models` puts chat models in the place of its tables, and
    `prompts` lays a folder over the built-in prompts. `limit` takes the file's first items only, `concurrency` of them
    at once. `style` "completion" sends plain text as the paper's release does. `voice` is how `modular` hears the
    communities, in distributional mode. `comment_tokens` and `answer_tokens` replace the pool's. `repeatable` gives the
    same texts whatever runs beside them, on embedded models with weights in one of llama.cpp's Q formats. For Overton
    tasks alone, `nli` names the entailment measure, `judge` a model of the pool that judges answers, and `perspectives`
    asks for so many.
    """

    pool: Pool | str = "perspective"
    models: Mapping[str, BaseChatModel] | None = None
    prompts: Path | None = None
    limit: int | None = None
    seed: int = 0
    concurrency: int = 8
    scoring: ItemScoring = "rotate"
    voice: Voices = "comment"
    style: Style = "chat"
    comment_tokens: int | None = None
    answer_tokens: int | None = None
    repeatable: bool = False
    nli: str | None = None
    judge: str | None = None
    perspectives: int | None = None


Settings = TypeVar("Settings", bound=BenchSettings)


class Bench(Generic[Settings]):
    """A task with everything that its items are answered with; no weights are loaded.

    `kind` says what is asked about the items, where it is not what the file's kind says.

    Raises:
        PluralismError: the pool, the prompts or a setting is unusable.
    """

    def __init__(self, task: TaskFile, settings: Settings, *, kind: Kind | None = None) -> None:
        self.task = task
        self.settings = settings
        self.kind: Kind = kind or task.kind
        self._check()
        self.prompts = demanding(PromptSet.load(settings.prompts, style=settings.style), settings.perspectives)
        self.pool = _fitted(settings, settings.style)
        self.caller = Caller(attempts=self.pool.run.attempts, deadline=self.pool.run.deadline)

    def _check(self) -> None:
        if self.kind != "overton":
            for name in ("nli", "judge", "perspectives"):
                if getattr(self.settings, name) is not None:
                    raise InputError(f"--{name} is for Overton task files; leave it out, or give such a file.")
        if self.settings.voice != "comment" and self.kind != "distributional":
            raise InputError(
                f"--voice {self.settings.voice} is for distributional mode, and this file is {self.kind}; leave it "
                "out, or give a distributional file."
            )

    @cached_property
    def models(self) -> PoolModels:
        """The pool's models, which are all there.

        Raises:
            ModelLoadError: a file is missing, or the variable with an API key is not set.
        """
        models = PoolModels(self.pool, self.settings.models)
        models.check(self.settings.voice)
        return models

    @cached_property
    def items(self) -> list[Item]:
        """The items that are answered."""
        return list(self.task.items(min(self.settings.limit or self.task.count, self.task.count)))

    @cached_property
    def overton(self) -> OvertonMeasures | None:
        """How Overton answers are measured: in the same way whatever prompts or style they were made with.

        Raises:
            InputError: the pool has no such judge.
            ModelLoadError: the measure's model, or a library that it needs, is not there.
        """
        settings = self.settings
        if self.kind != "overton":
            return None
        pool, prompts = _fitted(settings, "chat"), PromptSet.load(settings.prompts)
        nli = PAPER_MODEL if settings.nli is None else settings.nli
        return OvertonMeasures(
            entailment=open_measure(nli, pool=pool, prompts=prompts, models=settings.models),
            judge=None if settings.judge is None else named_model(pool, settings.judge, settings.models),
            prompts=prompts,
            caller=self.caller,
            perspectives=settings.perspectives,
        )

    def setting(self, *, prompts: PromptSet | None = None, cache: BaseCache[Any] | None = None) -> Setting:
        """What methods on this bench have in common, with other prompts where they are given."""
        return Setting(
            kind=self.kind,
            pool=self.pool,
            models=self.models,
            prompts=prompts or self.prompts,
            scoring=self.settings.scoring,
            seed=self.settings.seed,
            cache=cache,
            voice=self.settings.voice,
            overton=self.overton,
        )

    def makers(
        self,
        names: Sequence[MethodName],
        *,
        without: Sequence[str] = (),
        only: Sequence[str] = (),
        prompts: PromptSet | None = None,
        cache: BaseCache[Any] | None = None,
    ) -> list[Method]:
        """What answers items by these methods, and by `modular` without or with only these communities.

        Raises:
            InputError: a community is not in the pool, or none would be left.
        """
        return build_methods(names, self.setting(prompts=prompts, cache=cache), without=without, only=only)

    def cache(self, items: int) -> NodeCache:
        """A cache for what is computed for so many items."""
        return NodeCache(most=(_NODES_PER_COMMUNITY * len(self.pool.communities) + _OTHER_NODES) * max(items, 1))

    @cached_property
    def _shared(self) -> NodeCache:
        return self.cache(len(self.items))

    def counted_cache(self) -> CountedCache:
        """A view of the cache that all makers of this bench may share, which counts what its own maker computes."""
        return CountedCache(self._shared)

    async def run(
        self, makers: Sequence[Maker], *, items: Sequence[Item] | None = None, on_result: OnResult = untold
    ) -> dict[str, list[Result]]:
        """The results of each maker by its name, in the order of the items, None for all of them.

        The makers take their turns with an item, so that the later ones find in a cache what the first has computed.

        Raises:
            PluralismError: nothing can be made for any item. The others are then stopped.
        """

        async def make(place: int, item: Item) -> list[Result]:
            results = []
            for maker in makers:
                results.append(await maker.make(place, item))
                on_result(maker, results[-1])
            return results

        made = await each_item(self.items if items is None else items, make, concurrency=self.settings.concurrency)
        return {maker.name: [results[number] for results in made] for number, maker in enumerate(makers)}

    def scored(self, outcomes: Mapping[str, Sequence[Result]], *, items: Sequence[Item] | None = None) -> ScoredMethods:
        """The numbers of these outcomes, by the names of their makers; the intervals are drawn with the seed."""
        answered = self.items if items is None else items

        def of(name: str) -> Iterator[Outcome]:
            return iter(cast(Sequence[Outcome], outcomes[name]))

        return ScoredMethods(
            self.task.kind, lambda: iter(answered), of, list(outcomes), seed=self.settings.seed, resamples=RESAMPLES
        )

    def facts(self) -> dict[str, Any]:
        """What was run, and how."""
        settings, run = self.settings, self.pool.run
        facts = {
            "pool": self.pool.name,
            "communities": ", ".join(self.pool.communities),
            "base LLM": self._base_llm(),
            "scoring": settings.scoring,
            **({} if settings.voice == "comment" else {"voice": settings.voice}),
            "style": settings.style,
            "seed": settings.seed,
            "comment tokens": run.comment_tokens,
            "answer tokens": run.answer_tokens,
            "quorum": self.pool.quorum,
            **({"evidence": run.evidence} if self._has_records else {}),
            "repeatable": settings.repeatable,
            "modular-pluralism": version("modular-pluralism"),
            "python": platform.python_version(),
        }
        if self.overton is not None:
            facts |= {"entailment": self.overton.entailment.name, "judge": settings.judge or "none"}
            facts |= {} if settings.perspectives is None else {"required perspectives": settings.perspectives}
        return facts

    @property
    def _has_records(self) -> bool:
        return any(community.answers is not None for community in self.pool.communities.values())

    def _base_llm(self) -> str:
        """The weights' file, or the remote model's name."""
        config, chat = self.pool.models[self.pool.base], self.models.base().chat
        if isinstance(chat, ChatLlama):
            return chat.file.name
        if isinstance(config, LangChainModel):
            return config.langchain
        return config.openai if isinstance(config, RemoteModel) else self.pool.base


async def each_item(
    items: Sequence[AnItem], work: Callable[[int, AnItem], Awaitable[Made]], *, concurrency: int
) -> list[Made]:
    """What the work makes of each item, which it is given with its place, in their order; so many items at once.

    Raises:
        PluralismError: the work has raised it for one item. The others are then stopped.
    """
    room = asyncio.Semaphore(concurrency)

    async def one(place: int, item: AnItem) -> Made:
        async with room:
            return await work(place, item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(place, item)) for place, item in enumerate(items)]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def require_options(task: TaskFile, purpose: str) -> None:
    """Raise InputError unless the file's items have option distributions; `purpose` says what for, as the beginning of
    a sentence."""
    if task.kind not in ("distributional", "steerable-opinion"):
        raise InputError(
            f"{task.path} is a file of the kind {task.kind}; {purpose} on option distributions, so give a file with "
            "options and gold_distribution."
        )


def demanding(prompts: PromptSet, perspectives: int | None) -> PromptSet:
    """The prompts with which the base LLM answers, asking for so many perspectives. The communities give one each."""
    if perspectives is None:
        return prompts
    demand = prompts["perspectives"].render_text(count=perspectives).strip()
    return prompts.with_demand(_ANSWERING, demand)


def _fitted(settings: BenchSettings, style: Style) -> Pool:
    """The settings' pool with the rest of the settings in it, where nobody is told how an item's own question was
    answered.

    Raises:
        InputError: plain text is wanted, and a model is remote.
    """
    pool = settings.pool if isinstance(settings.pool, Pool) else Pool.load(settings.pool)
    models: dict[str, Any] = {}
    for name, model in pool.models.items():
        if not isinstance(model, EmbeddedModel):
            if style == "completion":
                raise InputError(
                    f"[models.{name}] is remote, and plain text can only be sent to embedded models; use --style chat."
                )
            models[name] = model
            continue
        own: dict[str, Any] = {}
        if style == "completion":
            own["template"] = False
        if settings.repeatable:
            own["repeatable"] = True
        if model.memory is None and model.slots is None and (usable_memory() or 0) >= _MUCH_MEMORY:
            own["memory"] = _CACHE_GIB
        models[name] = model.model_copy(update=own)
    lengths = {"comment_tokens": settings.comment_tokens, "answer_tokens": settings.answer_tokens}
    changes: dict[str, Any] = {name: value for name, value in lengths.items() if value is not None}
    if pool.tells_evidence:  # a community that is told the real answer could only repeat it
        changes["evidence"] = "others"
    return pool.model_copy(update={"models": models, "run": pool.run.model_copy(update=changes)})
