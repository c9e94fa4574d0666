"""`pluralism score`: the measures of a task file that somebody has filled in."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from modular_pluralism.cli.call_options import (
    AnswersOption,
    JsonOption,
    KindOption,
    NliOption,
    PoolOption,
    examples,
    path_argument,
)
from modular_pluralism.cli.output import print_results_json, stoppable
from modular_pluralism.errors import InputError

if TYPE_CHECKING:
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.evaluation.statistics.results import Results

EXAMPLES = examples("""
pluralism score filled.json
pluralism score filled.json --json > scores.json
pluralism score overton-filled.json --nli microsoft/deberta-v2-xlarge-mnli
""")


def score(
    file: Annotated[Path, path_argument(metavar="FILE", help="A filled-in task file.", show_default=False)],
    kind: KindOption = None,
    nli: NliOption = None,
    pool: PoolOption = "perspective",
    answers: AnswersOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seeds the resampling of the intervals.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Measure a filled-in task file: JS distance and most likely options, stances, or value coverage.

    Nothing is asked of any model but the one that --nli names; the pool is used for `--nli llm` alone.
    """
    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.evaluation.run.evaluation import open_answers
    from modular_pluralism.evaluation.run.score_file import score_file

    task = TaskFile.open(file, kind=kind)
    if nli is not None and task.kind != "overton":
        raise InputError(f"{file} is a file of the kind {task.kind}, which has no value coverage; leave --nli out.")
    with stoppable():
        record = open_answers(answers, task.kind)
        results = score_file(task, seed=seed, record=record) if nli is None else _with_coverage(task, nli, pool, seed)
    if as_json:
        print_results_json(results)
    else:
        print_results(results, rest="`--json`")


def _with_coverage(task: TaskFile, nli: str, pool_name: str, seed: int) -> Results:
    from modular_pluralism.evaluation.data.items import OvertonItem
    from modular_pluralism.evaluation.measures.coverage import coverage
    from modular_pluralism.evaluation.measures.entailment import Counts
    from modular_pluralism.evaluation.measures.named import open_measure
    from modular_pluralism.evaluation.run.score_file import score_file
    from modular_pluralism.pool import Pool

    counts = Counts()
    measure = open_measure(nli, pool=Pool.load(pool_name) if nli.partition(":")[0] == "llm" else None)
    console = Console(stderr=True, highlight=False)
    with asyncio.Runner() as runner, console.status("Measuring value coverage") as status:
        numbers = count(1)

        def coverage_of(item: OvertonItem, answer: str) -> list[float]:
            status.update(f"Measuring value coverage: answer {next(numbers)}, of {task.count} items")
            return runner.run(coverage(measure, answer, item.explanations, counts))

        results = score_file(task, seed=seed, coverage_of=coverage_of)
    note = measure.note(counts)
    notes = [note] if note else []
    run = {**results.run, "value coverage": measure.name}
    return results.model_copy(update={"run": run, "warnings": [*results.warnings, *notes]})
