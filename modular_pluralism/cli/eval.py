"""`pluralism eval`: measure methods on a task file."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modular_pluralism.cli.call_options import (
    JsonOption,
    KindOption,
    PoolOption,
    PromptsOption,
    SeedOption,
    VoiceName,
    VoiceOption,
)

if TYPE_CHECKING:
    from modular_pluralism.evaluation.run.evaluation import Evaluation
    from modular_pluralism.evaluation.statistics.results import Results

EXAMPLES = """
**Examples**

`pluralism eval globalopinionqa.json --limit 40`

`pluralism eval moralchoice.json --method vanilla --method modular --pool culture --out out/moralchoice`

`pluralism eval valuekaleidoscope.json --nli ./deberta-v2-xlarge-mnli --judge smollm2`

`pluralism eval opinionqa.json --without news_left --only reddit_right --seed 7`
"""


class MethodOption(StrEnum):
    """The methods, as the command line knows them."""

    vanilla = "vanilla"
    prompting = "prompting"
    moe = "moe"
    modular = "modular"


class ReadingOption(StrEnum):
    """How predictions are read."""

    rotate = "rotate"
    text = "text"


class StyleOption(StrEnum):
    """How prompts are sent."""

    chat = "chat"
    completion = "completion"


def evaluate(
    task_file: Annotated[Path, typer.Argument(metavar="TASKFILE", help="A task file, as a JSON list.")],
    method: Annotated[
        list[MethodOption] | None, typer.Option("--method", "-m", help="A method; repeat it. All four by default.")
    ] = None,
    pool: PoolOption = "perspective",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take the first items only.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Where everything is written; out/TASKFILE by default."),
    ] = None,
    seed: SeedOption = 0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, help="Items that each method works on at once.")
    ] = 8,
    score: Annotated[
        ReadingOption, typer.Option("--score", help="How options are read; rotate gives label beside it.")
    ] = ReadingOption.rotate,
    voice: VoiceOption = VoiceName.comment,
    style: Annotated[
        StyleOption, typer.Option("--style", help="Chat template, or plain text as in the paper's release.")
    ] = StyleOption.chat,
    kind: KindOption = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="NAME", help="Add modular without this community.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Add modular with this community alone.")
    ] = None,
    nli: Annotated[
        str | None,
        typer.Option(
            "--nli",
            metavar="MODEL",
            help="Overton: the entailment model, an id or a folder; or llm, llm:MODEL.",
        ),
    ] = None,
    judge: Annotated[
        str | None, typer.Option("--judge", metavar="MODEL", help="Overton: a model of the pool that judges answers.")
    ] = None,
    perspectives: Annotated[
        int | None,
        typer.Option("--perspectives", min=1, help="Overton: require this many perspectives, as 5 or 10."),
    ] = None,
    comment_tokens: Annotated[
        int | None, typer.Option("--comment-tokens", min=1, help="Longest comment, in place of the pool's setting.")
    ] = None,
    answer_tokens: Annotated[
        int | None, typer.Option("--answer-tokens", min=1, help="Longest answer, in place of the pool's setting.")
    ] = None,
    prompts: PromptsOption = None,
    repeatable: Annotated[
        bool,
        typer.Option("--repeatable", help="The same texts whatever runs beside, for weights in Q formats; slower."),
    ] = False,
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Try again what failed in an earlier run.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure pluralism on a task file of the paper's format.

    Methods are compared on the same items, with 95 % bootstrap intervals and training-free baselines beside them. The
    folder gets a report (report.html), all figures (results.json), Inspect's logs, and the filled-in task file. A run
    that was stopped goes on where it was when the same command is given again.
    """
    from modular_pluralism.optional import optional

    optional("inspect_ai", "eval", "An evaluation")
    optional("matplotlib", "eval", "The report")
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.evaluation.run.evaluation import Evaluation, EvaluationSettings, Files
    from modular_pluralism.evaluation.run.methods import METHODS

    evaluation = Evaluation(
        TaskFile.open(task_file, kind=None if kind is None else kind.value),
        EvaluationSettings(
            methods=[each.value for each in method] if method else METHODS,
            pool=pool,
            prompts=prompts,
            limit=limit,
            seed=seed,
            concurrency=concurrency,
            scoring=score.value,
            voice=voice.value,
            style=style.value,
            comment_tokens=comment_tokens,
            answer_tokens=answer_tokens,
            repeatable=repeatable,
            without=without or (),
            only=only or (),
            nli=nli,
            judge=judge,
            perspectives=perspectives,
            retry_failures=retry_failures,
        ),
        Files(out or Path("out") / task_file.stem),
    )
    try:
        results = _run(evaluation)
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("Stopped. The same command goes on from here.", err=True)
        raise typer.Exit(130) from None
    _show(evaluation, results, as_json=as_json)


def _run(evaluation: Evaluation) -> Results:
    from modular_pluralism.cli.eval_progress import EvalProgress

    with EvalProgress(evaluation.total, sys.stderr) as progress:
        return asyncio.run(evaluation.run(progress.made, progress.known))


def _show(evaluation: Evaluation, results: Results, *, as_json: bool) -> None:
    from rich.console import Console

    from modular_pluralism.cli.results_table import print_results

    if as_json:
        typer.echo(results.model_dump_json(indent=2))
        return
    files = evaluation.files
    print_results(results, Console(highlight=False), rest=str(files.report))
    typer.echo(f"\nReport: {files.report}")
    typer.echo(f"Figures: {files.results}")
    typer.echo(f"Filled-in task files: {files.folder / 'filled'}")
    typer.echo(f"Logs: inspect view --log-dir {files.logs}")
