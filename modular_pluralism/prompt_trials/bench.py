"""The bench on which sets of prompts are tried: one method, which answers the same items with each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.bench import Bench, BenchSettings
from modular_pluralism.evaluation.run.counted_cache import CountedCache
from modular_pluralism.evaluation.run.methods import Method
from modular_pluralism.evaluation.statistics.kind_measures import check_measure
from modular_pluralism.prompt_trials.uses import prompts_in_use
from modular_pluralism.prompt_trials.variants import changed_texts
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import MethodName


@dataclass(frozen=True, kw_only=True)
class TrialSettings(BenchSettings):
    """How prompts are tried: `method` answers the items, and `measure` is the key of the measure that decides, None for
    the task's first."""

    method: MethodName = "modular"
    measure: str | None = None


class TrialBench(Bench[TrialSettings]):
    """A bench whose `prompts` are what everything is compared with.

    Raises:
        PluralismError: the pool or a setting is unusable.
    """

    def __init__(self, task: TaskFile, settings: TrialSettings) -> None:
        if settings.voice != "comment":
            raise InputError(f"Prompts are tried with the voice comment, not {settings.voice}; leave the voice out.")
        check_measure(task.kind, settings.measure)
        super().__init__(task, settings)
        for name in ("prompts", "perspectives", "judge"):
            if getattr(settings, name) is not None:
                raise InputError(f"Prompts are compared with the built-in ones as they are; leave {name} out.")

    @property
    def used(self) -> frozenset[str]:
        """Names of the prompts that the method uses on this task."""
        return prompts_in_use(self.kind, self.settings.method, self.settings.scoring, self.pool)

    def changed(self, prompts: PromptSet) -> tuple[str, ...]:
        """The prompts in use, then the personas, whose text differs from the bench's own."""
        speaking = tuple(self.pool.communities) if self.settings.method in ("moe", "modular") else ()
        return changed_texts(self.prompts, prompts, self.used, self.pool, speaking)

    def maker(self, name: str, prompts: PromptSet) -> tuple[Method, CountedCache]:
        """What answers items with these prompts, under that name, and the count of its model calls. All makers of a
        bench take from each other what does not depend on their prompts."""
        cache = self.counted_cache()
        [maker] = self.makers([self.settings.method], prompts=prompts, cache=cache)
        maker.name = name
        return maker, cache

    def facts(self) -> dict[str, Any]:
        """See Bench."""
        return {"method": self.settings.method, **super().facts()}
