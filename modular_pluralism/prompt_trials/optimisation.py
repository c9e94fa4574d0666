"""Improving one prompt on a task: a search over half of the questions, and a judgement on the other half."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.maker import Result
from modular_pluralism.evaluation.run.named_model import named_model
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM
from modular_pluralism.evaluation.statistics.collected import Collected, Questions
from modular_pluralism.evaluation.statistics.results import Results, Table
from modular_pluralism.evaluation.statistics.summary import data_warnings, overall_table, task_facts
from modular_pluralism.models.calls import Caller
from modular_pluralism.prompt_trials.bench import Bench, TrialSettings
from modular_pluralism.prompt_trials.compare import compare, deciding, difference_table, measures_of
from modular_pluralism.prompt_trials.halves import halve
from modular_pluralism.prompt_trials.reflection import Reflection
from modular_pluralism.prompt_trials.report_folder import PROMPTS, write_text
from modular_pluralism.prompt_trials.search import Found, Search
from modular_pluralism.prompt_trials.search_result import SearchResult, TriedText
from modular_pluralism.prompt_trials.trial_result import Compared
from modular_pluralism.prompt_trials.variant import BUILT_IN
from modular_pluralism.prompts import Prompt, PromptSet, find_prompt

FOUND = "best found"


@dataclass
class Optimisation:
    """A search that is ready to run: everything has been checked, and no weights have been loaded.

    `name` is a prompt that the method uses on this task, as `find_prompt` takes it (one of completion/ is sent as plain
    text); `budget` the most metric calls of the search: items answered and scored. Judging takes up to two calls more
    for each item held back. `reflect` names the model of the pool that reflects, None for the base LLM, in
    at most `reflect_tokens`.

    Raises:
        PluralismError: the task, the pool, the prompt or a setting is unusable, or the budget too small.
    """

    task: TaskFile
    name: str
    budget: int
    settings: TrialSettings = field(default_factory=TrialSettings)
    reflect: str | None = None
    reflect_tokens: int = 512

    def __post_init__(self) -> None:
        self.file, self.prompt = find_prompt(self.name)
        if self.file.startswith("completion/"):
            self.settings = replace(self.settings, style="completion")
        self.bench = Bench(self.task, self.settings)
        self._key = Path(self.file).name if self.prompt.mode == "persona" else self.prompt.name
        self._check_use()
        self.training, self.held_back = halve(self.bench.items, self.settings.seed)
        run = self.bench.pool.run
        self._reflection = Reflection(
            model=named_model(self.bench.pool, self.reflect, self.settings.models, purpose="reflect"),
            prompt=self.prompt,
            prompts=PromptSet.load(),
            caller=Caller(attempts=run.attempts, deadline=run.deadline),
            seed=self.settings.seed,
            tokens=self.reflect_tokens,
        )

    @property
    def total(self) -> int:
        """The most results that there can be when all is done."""
        return self.budget + 2 * len(self.held_back)

    def run(self, on_result: Callable[[Any, Result], None] = lambda _maker, _result: None) -> SearchResult:
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

    def _result(self, search: Search, texts: Sequence[Found], best: str | None) -> SearchResult:
        half = {
            "training": self._collected(search, self.training, best),
            "held back": self._collected(search, self.held_back, best),
        }
        measures = measures_of(self.task.kind, half["held back"])
        measure = deciding(measures, self.settings.measure)
        compared: dict[str, Compared] = {}
        if best is not None:
            compared = {name: compare(each, FOUND, [self.file], measure) for name, each in half.items()}
        held_back = compared.get("held back")
        tables = [table for name, each in half.items() for table in self._tables(name, each, best)]
        overall = tables[0] if best is None else tables[2]
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
            texts=[TriedText(text=each.text, merit=each.merit, parent=each.parent) for each in texts],
            results=Results(
                title=f"{self.task.path.stem}: a better text for {self.file}",
                task=task_facts(self.task, half["held back"]) | self._counts(),
                run=self.bench.facts() | {"reflecting model": self.reflect or self.bench.pool.base},
                warnings=[*data_warnings(self.task, half["held back"], overall), *self._warnings()],
                tables=tables,
                failures=half["held back"].failures,
                failed=half["held back"].failed,
            ),
        )

    def _collected(self, search: Search, items: Sequence[Item], best: str | None) -> Collected:
        texts = {BUILT_IN: self.prompt.text} | ({} if best is None else {FOUND: best})
        return self.bench.collected(
            items, {name: cast(list[Result], search.outcomes(text, items)) for name, text in texts.items()}
        )

    def _tables(self, name: str, collected: Collected, best: str | None) -> list[Table]:
        overall = overall_table(self.task.kind, collected)
        title = {"training": "Training items", "held back": "Items held back"}[name]
        tables = [overall.model_copy(update={"name": name.replace(" ", "_"), "title": title})]
        if best is not None:
            table = difference_table(collected, [FOUND], measures_of(self.task.kind, collected))
            tables.append(table.model_copy(update={"title": f"{title}: difference from the built-in prompt"}))
        return tables

    def _counts(self) -> dict[str, int]:
        return {
            "items": len(self.bench.items),
            "items evaluated": len(self.bench.items),
            "questions": _questions(self.bench.items),
            "training items": len(self.training),
            "items held back": len(self.held_back),
            "questions held back": _questions(self.held_back),
        }

    def _warnings(self) -> list[str]:
        found = []
        if _questions(self.held_back) < CLEAR_FROM:
            found.append(
                f"Only {_questions(self.held_back)} questions were held back: with fewer than {CLEAR_FROM}, no text is "
                "called better. Use more items."
            )
        found.append(
            "The training scores choose the best text, and so flatter it; the scores on the items held back do not."
        )
        return found

    def _check_use(self) -> None:
        """Raise InputError unless another text of the prompt would change something on this task."""
        use = self.bench.use
        changed = self.bench.built_in.with_texts({self._key: f"{self.prompt.text.rstrip()}\nChanged.\n"})
        if not use.changed(changed):
            raise InputError(
                f"The method {use.method} does not use {self.file} on this task, so that no other text could be "
                f"better; it uses {', '.join(sorted(use.prompts))}."
            )


def write_winner(folder: Path, result: SearchResult, prompt: Prompt, *, keep: bool) -> Path | None:
    """Write the best text, as the next version of the prompt, to a folder in `folder` that `--prompts` takes; None
    where it is not clearly better, and `keep` does not ask for it nevertheless, or where there is none.

    Raises:
        EvaluationError: the file cannot be written.
    """
    if result.best is None or not (result.better or keep):
        return None
    path = folder / PROMPTS / result.file
    write_text(path, replace(prompt, text=result.best, version=prompt.version + 1).file_text())
    return path


def _questions(items: Sequence[Item]) -> int:
    questions = Questions()
    for item in items:
        questions.add(item)
    return questions.count


def _sentence(held_back: Compared | None) -> str:
    if held_back is None:
        return "Nothing better was found: no text did better than the built-in one on the training items."
    if held_back.verdict == "better":
        return f"A better text was found. On the items held back, {held_back.sentence}"
    return f"Nothing better was found. On the items held back, {held_back.sentence}"
