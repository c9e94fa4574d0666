"""`pluralism eval`: measure methods on a task file."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from modular_pluralism.cli.call_options import (
    AnsweringBenchOptions,
    AnswersOption,
    JsonOption,
    KindOption,
    PromptsOption,
    StyleOption,
    TaskFileArgument,
    VotingBenchOptions,
    examples,
    expand_groups,
    path_option,
)
from modular_pluralism.cli.output import print_results_json, stoppable, tell
from modular_pluralism.optional import optional
from modular_pluralism.types import MethodName

EXAMPLES = examples("""
pluralism eval globalopinionqa.json --limit 40
pluralism eval moralchoice.json --method vanilla --method modular --pool culture --out out/moralchoice
pluralism eval valuekaleidoscope.json --nli ./deberta-v2-xlarge-mnli --judge smollm2
pluralism eval opinionqa.json --without news_left --only reddit_right --seed 7
""")


_METHODS = get_args(MethodName)


def _method(name: str) -> str:
    """The name, which Typer does not compare with a Literal where an option is repeated."""
    if name not in _METHODS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(map(repr, _METHODS))}.")
    return name


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(AnsweringBenchOptions, VotingBenchOptions):
    """What else an evaluation has of EvaluationSettings."""

    prompts: PromptsOption = None
    style: StyleOption = "chat"
    judge: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Overton: a model of the pool that judges answers.")
    ] = None
    perspectives: Annotated[
        int | None, typer.Option(min=1, help="Overton: require this many perspectives, as 5 or 10.")
    ] = None
    answers: AnswersOption = None
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Try again what failed in an earlier run.")
    ] = False


@expand_groups
def evaluate(
    task_file: TaskFileArgument,
    *,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            parser=_method,
            metavar=f"<{'|'.join(_METHODS)}>",
            help="A method; repeat it. All four by default.",
        ),
    ] = None,
    bench: EvaluationOptions,
    out: Annotated[
        Path | None,
        path_option("--out", "-o", metavar="DIR", help="Where everything is written; out/TASKFILE by default."),
    ] = None,
    kind: KindOption = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Add modular without this community.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Add modular with this community alone.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure pluralism on a task file of the paper's format.

    Methods are compared on the same items, with 95 % bootstrap intervals and training-free baselines beside them. The
    folder gets a report (report.html), all figures (results.json), Inspect's logs, and the filled-in task file. A run
    that was stopped goes on where it was when the same command is given again.
    """
    optional("inspect_ai", "eval", "An evaluation")
    from modular_pluralism.cli.progress import GOES_ON, EvalProgress
    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.evaluation.run.evaluation import Evaluation, EvaluationSettings, Files
    from modular_pluralism.evaluation.run.methods import METHODS

    evaluation = Evaluation(
        TaskFile.open(task_file, kind=kind),
        EvaluationSettings(
            methods=[cast(MethodName, name) for name in method or METHODS],
            without=without or (),
            only=only or (),
            **vars(bench),
        ),
        Files(out or Path("out") / task_file.stem),
    )
    with (
        stoppable(GOES_ON),
        EvalProgress(evaluation.total, sys.stderr) as progress,
    ):
        results = asyncio.run(evaluation.run(progress.made, progress.known))
    if as_json:
        print_results_json(results)
        return
    files = evaluation.files
    print_results(results, rest=str(files.report))
    tell(f"\nReport: {files.report}")
    tell(f"Figures: {files.results}")
    tell(f"Filled-in task files: {files.folder / 'filled'}")
    tell(f"Logs: inspect view --log-dir {files.logs}")
