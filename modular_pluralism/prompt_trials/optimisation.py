"""Improving one prompt on a task: a search over half of the questions, and a judgement on the other half."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from modular_pluralism.errors import EvaluationError, InputError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.measures.judge import named_model
from modular_pluralism.evaluation.report.folder import write_text
from modular_pluralism.evaluation.run.bench import OnResult, untold
from modular_pluralism.evaluation.run.makers import Result
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM
from modular_pluralism.evaluation.statistics.clusters import by_question, halve
from modular_pluralism.evaluation.statistics.kind_measures import deciding
from modular_pluralism.evaluation.statistics.results import Table
from modular_pluralism.evaluation.statistics.scored_methods import ScoredMethods
from modular_pluralism.evaluation.statistics.summary import overall_table, results_of
from modular_pluralism.prompt_trials.bench import TrialBench, TrialSettings
from modular_pluralism.prompt_trials.compare import built_in_differences, compare_with_built_in
from modular_pluralism.prompt_trials.reflection import Reflection
from modular_pluralism.prompt_trials.result_models import Compared, SearchResult, TriedText
from modular_pluralism.prompt_trials.search import Search
from modular_pluralism.prompt_trials.variants import BUILT_IN
from modular_pluralism.prompts import Prompt, PromptSet, built_in_files, find_prompt

FOUND = "best found"
_PROMPTS = "prompts"
"""The folder in a search's folder that has the better prompt, for `--prompts`."""


class Optimisation:
    """A search that is ready to run: everything has been checked, and no weights have been loaded.

    `name` is a prompt that the method uses on this task, as `find_prompt` takes it (one of completion/ is sent as plain
    text); `budget` the most metric calls of the search: items answered and scored. Judging takes up to two calls more
    for each item held back. `reflect` names the model of the pool that reflects, None for the base LLM, in
    at most `reflect_tokens`.

    Raises:
        PluralismError: the task, the pool, the prompt or a setting is unusable, or the budget too small.
    """

    def __init__(
        self,
        task: TaskFile,
        name: str,
        budget: int,
        settings: TrialSettings | None = None,
        *,
        reflect: str | None = None,
        reflect_tokens: int = 512,
    ) -> None:
        self.file, self.prompt = find_prompt(name)
        self.budget = budget
        settings = settings or TrialSettings()
        if self.file.startswith("completion/"):
            settings = replace(settings, style="completion")
        bench = self.bench = TrialBench(task, settings)
        self._key = Path(self.file).name if self.prompt.mode == "persona" else self.prompt.name
        self._check_use()
        _ = bench.models  # are all there
        self.training, self.held_back = halve(bench.items, settings.seed)
        self._reflecting_model = reflect or bench.pool.base
        self._reflection = Reflection(
            model=named_model(bench.pool, reflect, settings.models, purpose="reflect"),
            prompt=self.prompt,
            prompts=PromptSet.load(),
            caller=bench.caller,
            seed=settings.seed,
            tokens=reflect_tokens,
        )

    @property
    def total(self) -> int:
        """The most results that there can be when all is done."""
        return self.budget + 2 * len(self.held_back)

    def run(self, on_result: OnResult = untold) -> SearchResult:
        """Search, then compare the best text with the built-in one on the items held back.

        Not to be called within a running event loop.

        Raises:
            PluralismError: nothing can be computed.
        """
        with asyncio.Runner() as runner:
            search = Search(self.bench, self._key, self._reflection, self.training, self.budget, runner, on_result)
            texts = search.run()
            best = max(range(len(texts)), key=lambda place: texts[place].merit)  # of equal ones, the first
            return self._result(search, texts, texts[best].text if best else None)

    def _result(self, search: Search, texts: Sequence[TriedText], best: str | None) -> SearchResult:
        half = {
            "training": self._scored(search, self.training, best),
            "held back": self._scored(search, self.held_back, best),
        }
        measure = deciding(half["held back"].measures(directed=True), self.bench.settings.measure)
        compared: dict[str, Compared] = {}
        if best is not None:
            compared = {name: compare_with_built_in(each, FOUND, [self.file], measure) for name, each in half.items()}
        held_back = compared.get("held back")
        results = results_of(
            self.bench.task,
            half["held back"],
            title=f"{self.bench.task.path.stem}: a better text for {self.file}",
            run=self.bench.facts() | {"reflecting model": self._reflecting_model},
            warnings=self._warnings(),
            tables=[table for name, each in half.items() for table in self._tables(name, each, best)],
        )
        return SearchResult(
            name=self.prompt.name,
            file=self.file,
            measure=measure.column,
            better=held_back is not None and held_back.verdict == "better",
            sentence=_sentence(held_back),
            best=best,
            training=compared.get("training"),
            held_back=held_back,
            budget=self.budget,
            metric_calls=search.calls,
            reflections=self._reflection.counted,
            refused=len(self._reflection.refused),
            reasons=dict(Counter(self._reflection.refused).most_common()),
            texts=list(texts),
            results=results.model_copy(update={"task": results.task | self._counts()}),
        )

    def _scored(self, search: Search, items: Sequence[Item], best: str | None) -> ScoredMethods:
        texts = {BUILT_IN: self.prompt.text} | ({} if best is None else {FOUND: best})
        outcomes = {name: cast(list[Result], search.outcomes(text, items)) for name, text in texts.items()}
        return self.bench.scored(outcomes, items=items)

    def _tables(self, name: str, scored: ScoredMethods, best: str | None) -> list[Table]:
        title = {"training": "Training items", "held back": "Items held back"}[name]
        tables = [overall_table(scored).model_copy(update={"name": name.replace(" ", "_"), "title": title})]
        if best is not None:
            tables.append(built_in_differences(f"{title}: difference from the built-in prompt", scored, [FOUND]))
        return tables

    def _counts(self) -> dict[str, int]:
        return {
            "items": len(self.bench.items),
            "items evaluated": len(self.bench.items),
            "questions": by_question(self.bench.items).count,
            "training items": len(self.training),
            "items held back": len(self.held_back),
            "questions held back": by_question(self.held_back).count,
        }

    def _warnings(self) -> list[str]:
        warnings = []
        questions = by_question(self.held_back).count
        if questions < CLEAR_FROM:
            warnings.append(
                f"Only {questions} questions were held back: with fewer than {CLEAR_FROM}, no text is "
                "called better. Use more items."
            )
        warnings.append(
            "The training scores choose the best text, and so flatter it; the scores on the items held back do not."
        )
        return warnings

    def _check_use(self) -> None:
        """Raise InputError unless another text of the prompt would change something on this task."""
        bench = self.bench
        changed = bench.prompts.with_texts({self._key: f"{self.prompt.text.rstrip()}\nChanged.\n"})
        if not bench.changed(changed):
            raise InputError(
                f"The method {bench.settings.method} does not use {self.file} on this task, so that no other text "
                f"could be better; it uses {', '.join(sorted(bench.used))}."
            )


def check_no_prompts(folder: Path) -> None:
    """Raise EvaluationError where DIR/prompts is there already, or DIR is among the built-in prompts: neither is ever
    written over."""
    built_in = Path(next(iter(built_in_files().values())).path).resolve().parent
    if folder.resolve().is_relative_to(built_in):
        raise EvaluationError(
            f"{folder} is among the built-in prompts, which are never written over; give another --out."
        )
    if (folder / _PROMPTS).exists():
        raise EvaluationError(f"{folder / _PROMPTS} is there already; remove it, or give another --out.")


def write_winner(folder: Path, result: SearchResult, prompt: Prompt, *, keep: bool) -> Path | None:
    """Write the best text, as the next version of the prompt, to a folder in `folder` that `--prompts` takes; None
    where it is not clearly better, and `keep` does not ask for it nevertheless, or where there is none.

    Raises:
        EvaluationError: the file cannot be written.
    """
    if result.best is None or not (result.better or keep):
        return None
    path = folder / _PROMPTS / result.file
    write_text(path, replace(prompt, text=result.best, version=prompt.version + 1).file_text())
    return path


def _sentence(held_back: Compared | None) -> str:
    if held_back is None:
        return "Nothing better was found: no text did better than the built-in one on the training items."
    if held_back.verdict == "better":
        return f"A better text was found. On the items held back, {held_back.sentence}"
    return f"Nothing better was found. On the items held back, {held_back.sentence}"
