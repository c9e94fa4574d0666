"""`pluralism priors`: weights of the communities, fitted on answered questions."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from modular_pluralism.cli.call_options import (
    JsonOption,
    KindOption,
    RealTaskFileArgument,
    VotingBenchOptions,
    examples,
    expand_groups,
)
from modular_pluralism.cli.commands import App
from modular_pluralism.cli.output import print_results_json, say, stoppable
from modular_pluralism.optional import optional

app = App(
    epilog=examples("pluralism priors fit globalopinionqa.json --pool my-pool.toml --voice vote"),
    no_args_is_help=True,
)


@app.callback()
def priors() -> None:
    """Weights of the communities, fitted on answered questions."""


@app.command(
    "fit",
    epilog=examples("""
pluralism priors fit globalopinionqa.json --pool my-pool.toml --voice vote
pluralism priors fit globalopinionqa.json --pool my-pool.toml --by-attribute --least 10 --write
pluralism priors fit globalopinionqa.json --pool my-pool.toml --voice vote,record --write
"""),
)
@expand_groups
def fit(
    task_file: RealTaskFileArgument,
    bench: VotingBenchOptions,
    by_attribute: Annotated[
        bool, typer.Option("--by-attribute", help="Weights of their own for each attribute with enough questions, too.")
    ] = False,
    least: Annotated[int, typer.Option(min=1, help="Questions that an attribute needs for weights of its own.")] = 20,
    write: Annotated[bool, typer.Option("--write", help="Write what was fitted into the pool file.")] = False,
    kind: KindOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the weights of the communities by maximum likelihood, and with several voices how these are united.

    One half of the questions is fitted on, and the other tells whether that is better than uniform weights, or with
    several voices than the pool's present settings. Only with `--write` is the pool file changed. What is fitted
    belongs to the voices that it was fitted with.
    """
    optional("scipy", "eval", "Fitting priors")
    from modular_pluralism.cli.progress import NOTHING_WRITTEN, EvalProgress
    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.nodes.request import voices_in
    from modular_pluralism.priors.fit import FitSettings, PriorsFit, run_keys
    from modular_pluralism.priors.write import pool_file, write_priors

    path = pool_file(bench.pool, run=len(voices_in(bench.voice)) > 1) if write else None
    work = PriorsFit(
        TaskFile.open(task_file, kind=kind),
        FitSettings(by_attribute=by_attribute, least=least, **vars(bench)),
    )
    with stoppable(NOTHING_WRITTEN), EvalProgress(work.total, sys.stderr) as progress:
        result = asyncio.run(work.run(progress.made))
    try:
        if as_json:
            print_results_json(result)
        else:
            print_results(result.results, rest="`--json`")
            say()
            say(result.sentence, "bold")
    finally:
        # The work may have taken hours: neither what is printed nor what is written is lost with the other.
        if path is not None:
            by_name = {name: fitted.weights for name, fitted in result.by_attribute.items()}
            write_priors(path, result.overall.weights, by_name, run_keys(result.voices))
    if path is not None and not as_json:
        say(f"Written: {path}")
    elif not as_json:
        say(f"The pool {bench.pool} is as it was; --write puts what was fitted into its file.", "dim", prose=True)
