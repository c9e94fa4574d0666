"""One evaluation: a task file, methods over a pool, and a folder that everything is written to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from modular_pluralism.errors import EvaluationError, InputError, PluralismError
from modular_pluralism.evaluation.data.filled_file import write_filled
from modular_pluralism.evaluation.data.items import Kind, OptionItem, OvertonItem
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.measures.entailment import Counts
from modular_pluralism.evaluation.report import write_report
from modular_pluralism.evaluation.report.folder import check_folder, write_json
from modular_pluralism.evaluation.run.bench import Bench, BenchSettings, OnResult
from modular_pluralism.evaluation.run.facts import digest, given_models, model_files, pool_facts
from modular_pluralism.evaluation.run.harness import PART, Harness, check_traces
from modular_pluralism.evaluation.run.journal import Journal
from modular_pluralism.evaluation.run.makers import Maker, PairMaker, verdict
from modular_pluralism.evaluation.run.methods import METHODS
from modular_pluralism.evaluation.statistics.clusters import by_question
from modular_pluralism.evaluation.statistics.pair_table import pair_table
from modular_pluralism.evaluation.statistics.results import Results, Table
from modular_pluralism.evaluation.statistics.summary import summarise
from modular_pluralism.nodes.evidence import told_prompts
from modular_pluralism.nodes.request import voices_in
from modular_pluralism.pool import EmbeddedModel
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.record_file import RecordFile
from modular_pluralism.records.similarity import Lexical
from modular_pluralism.types import MethodName

_STARTS = "(starts)"
"""Under which the journal counts how often it was begun."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(BenchSettings):
    """What is evaluated: `methods`, and with `without` and `only` also `modular` with one community removed, or alone.
    `answers` is a file of answered questions, the nearest of which are a baseline. `retry_failures` tries again what
    failed in an earlier run."""

    methods: Sequence[MethodName] = METHODS
    without: Sequence[str] = ()
    only: Sequence[str] = ()
    answers: Path | None = None
    retry_failures: bool = False


class Files:
    """What an evaluation leaves in its `folder`.

    `journal` has every result as it was made, and a run goes on from it; `logs` are Inspect's, which `inspect view
    --log-dir` opens; `results` has all figures as JSON, and `report` shows them with charts and examples.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal.sqlite"
        self.logs = folder / "logs"
        self.results = folder / "results.json"
        self.report = folder / "report.html"

    def filled(self, method: str) -> Path:
        """The task file with a method's results filled in."""
        return self.folder / "filled" / f"{method.replace(' ', '_')}.json"


class Evaluation:
    """An evaluation that is ready to run: every part of it has been checked, and no weights have been loaded.

    Raises:
        PluralismError: the task file, the pool, the prompts, the folder or a setting is unusable.
    """

    def __init__(self, task: TaskFile, settings: EvaluationSettings, files: Files) -> None:
        if not settings.methods:
            raise InputError("There is no method to evaluate; name at least one.")
        self.task = task
        self.settings = settings
        self.files = files
        self.count = task.count if settings.limit is None else min(settings.limit, task.count)
        self.bench = Bench(task, settings)
        self._record = open_answers(settings.answers, task.kind)
        # Another choice of communities says and votes the same, so that it is not asked again.
        cache = self.bench.cache(PART) if settings.without or settings.only else None
        self._makers = self.bench.makers(settings.methods, without=settings.without, only=settings.only, cache=cache)
        self._patched = self._makers[len(dict.fromkeys(settings.methods)) :]
        check_traces()
        _make_folder(files, task.path)

    @property
    def methods(self) -> list[str]:
        """Names of what is compared."""
        return [maker.name for maker in self._makers]

    @property
    def total(self) -> int:
        """Results that there will be when all is done."""
        return self.count * (len(self._makers) + len(self._pairs()))

    async def run(self, on_result: OnResult, on_known: Callable[[int], None]) -> Results:
        """Make what is missing, and write every file. `on_known` is told how many results are there already.

        Raises:
            PluralismError: nothing can be computed, or nothing be written; what was made before is kept.
        """
        overton = self.bench.overton
        with Journal(self.files.journal, self._facts()) as journal:
            pairs = [
                PairMaker(one, other, overton.judge, overton.prompts, overton.caller, journal)
                for one, other in self._pairs()
                if overton is not None and overton.judge is not None
            ]
            makers: list[Maker] = [*self._makers, *pairs]
            if self.settings.retry_failures:
                for maker in makers:
                    journal.forget_failures(maker.name)
            known = sum(journal.count(maker.name, self.count) for maker in makers)
            journal.put(_STARTS, journal.count(_STARTS, sys.maxsize), {"known": known, "of": self.total})
            on_known(known)
            harness = Harness(
                self.task, journal, self.files.logs, concurrency=self.settings.concurrency, on_result=on_result
            )
            whole = self._makers[: len(self._makers) - len(self._patched)]
            await harness.run(whole, self.count, then=self._patched)
            await harness.run(pairs, self.count)
            return self._write(journal, pairs)

    def outcomes(self, method: str) -> list[Outcome]:
        """What became of the items with a method so far, in their order, out of the journal.

        Raises:
            EvaluationError: the journal cannot be read, or another process writes to it.
        """
        with Journal(self.files.journal, self._facts()) as journal:
            return list(journal.results(method, self.count))

    def _write(self, journal: Journal, pairs: Sequence[PairMaker]) -> Results:
        for name in self.methods:
            write_filled(self.task, journal.results(name, self.count), self.files.filled(name))
        results = summarise(
            self.task,
            partial(self.task.items, self.count),
            lambda method: journal.results(method, self.count),
            self.methods,
            title=f"{self.task.path.stem}, pool {self.bench.pool.name}",
            run=self.bench.facts() | ({} if self.settings.answers is None else {"answers": self.settings.answers.name}),
            record=self._record,
            seed=self.settings.seed,
            extra=self._pair_tables(journal, pairs),
            warnings=self._warnings(journal),
        )
        write_json(self.files.results, results)
        write_report(results, self.files.report)
        return results

    def _pairs(self) -> list[tuple[str, str]]:
        if self.settings.judge is None:
            return []
        first = "modular" if "modular" in self.methods else self.methods[0]
        return [(first, other) for other in self.methods if other != first]

    def _pair_tables(self, journal: Journal, pairs: Sequence[PairMaker]) -> list[Table]:
        if not pairs:
            return []
        verdicts = {pair.name: [verdict(result) for result in journal.results(pair.name, self.count)] for pair in pairs}
        situations = by_question(self.task.items(self.count)).of_items()
        judge = f"{self.settings.judge} of the pool"
        return [pair_table(verdicts, judge, seed=self.settings.seed, clusters=situations)]

    def _warnings(self, journal: Journal) -> list[str]:
        warnings = []
        again = sum(0 < start["known"] < start["of"] for start in journal.results(_STARTS, sys.maxsize))
        remote = any(not isinstance(model, EmbeddedModel) for model in self.bench.pool.models.values())
        if again and (remote or not self.settings.repeatable):
            warnings.append(continued(again))
        if self.task.kind == "steerable-value":
            warnings.append(
                "The question of these items names the value itself, as in the paper's release: vanilla and MoE read "
                "it there, though they are told no attribute."
            )
        if self.bench.overton is not None:
            warnings.append(self.bench.overton.entailment.note(self._counts(journal)))
        if self.settings.perspectives is not None:
            enough = sum(
                len(item.values) >= self.settings.perspectives
                for item in self.task.items(self.count)
                if isinstance(item, OvertonItem)
            )
            warnings.append(
                f"{enough} of {self.count} items have {self.settings.perspectives} values or more; only these have a "
                "score per perspective."
            )
        warnings.append(self._already_answered())
        return [warning for warning in warnings if warning]

    def _already_answered(self) -> str:
        """What is said where records hold the very questions of the items; else nothing."""
        if "record" not in voices_in(self.settings.voice) or "modular" not in self.settings.methods:
            return ""
        asked = [(item.question, item.options) for item in self.task.items(self.count) if isinstance(item, OptionItem)]
        told = []
        for name in self.bench.pool.communities:
            try:
                record = self.bench.models.record(name)
            except PluralismError:  # it has none, or its results say that it could not be read
                continue
            known = sum(record.has(question, options) for question, options in asked)
            if known:
                told.append(f"{name} ({known} of {len(asked)})")
        if not told:
            return ""
        return (
            f"Records have answers to the items' own questions: {', '.join(told)}. What they give there is no "
            "prediction, and does not tell how near they are to others."
        )

    def _counts(self, journal: Journal) -> Counts:
        """What the entailment measure has counted over all methods, in this run and those before it."""
        total = Counts()
        for method in self.methods:
            for outcome in journal.results(method, self.count):
                known = {name: outcome["measures"].get(name, 0.0) for name in ("cut", "mass", "readings")}
                total.add(Counts(int(known["cut"]), known["mass"], int(known["readings"])))
        return total

    def _facts(self) -> dict[str, Any]:
        """All that a result depends on, beside the method and the item."""
        settings, bench = self.settings, self.bench
        return {
            "task file": self.task.digest,
            "kind": self.task.kind,
            "pool": pool_facts(bench.pool, bench.prompts),
            "prompts": digest({name: bench.prompts[name].text for name in told_prompts(bench.pool, bench.prompts)}),
            "seed": settings.seed,
            "scoring": settings.scoring,
            # Beside the rest only where it differs, so that evaluations from before there was a choice go on.
            **({} if settings.voice == "comment" else {"voice": settings.voice}),
            "style": settings.style,
            "repeatable": settings.repeatable,
            "nli": None if bench.overton is None else bench.overton.entailment.name,
            "judge": settings.judge,
            "perspectives": settings.perspectives,
            "files": model_files(bench.pool, bench.models),
            **({} if not bench.models.given else {"models": digest(given_models(bench.models.given))}),
            "modular-pluralism": version("modular-pluralism"),
        }


def open_answers(path: Path | None, kind: Kind) -> CommunityRecord | None:
    """The record that the baseline of nearest questions is made of, where a file is named.

    Raises:
        InputError: items of this kind have no options of their own.
        TrainingDataError: the file is missing, or holds no survey answers.
    """
    if path is None:
        return None
    if kind not in ("distributional", "steerable-opinion"):
        raise InputError(
            f"--answers is for task files with options of their own, and this file is {kind}; leave it out."
        )
    return RecordFile(path, Lexical()).record()


def continued(times: int) -> str:
    """The warning of an evaluation that was started again so often with a part of its results there: after a stop, or
    with more items or methods than before."""
    return (
        f"This evaluation was continued {'once' if times == 1 else f'{times} times'} after its first start, to finish "
        "it or to extend it. What is computed beside an item may change a word of its texts, so that they may differ "
        "from those of a run in one go; --repeatable, in a new folder, rules that out for embedded models with weights "
        "in one of llama.cpp's Q formats."
    )


def _make_folder(files: Files, task: Path) -> None:
    folder = files.folder
    written = (files.results, files.report, files.journal)
    if task.resolve() in (file.resolve() for file in written) or task.resolve().parent == (folder / "filled").resolve():
        raise EvaluationError(f"{task} would be overwritten; give another --out.")
    if not files.journal.exists():
        for path in (files.results, files.report, files.logs, folder / "filled"):
            if path.exists():
                raise EvaluationError(
                    f"{folder} holds {path.name}, and no journal to go on from; remove {path}, or give another --out."
                )
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
