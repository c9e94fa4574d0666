"""`pluralism patch`: a pool with and without one of its communities, on the same items."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from modular_pluralism.cli.call_options import (
    JsonOption,
    KindOption,
    RealTaskFileArgument,
    VotingBenchOptions,
    examples,
    expand_groups,
    path_option,
)
from modular_pluralism.cli.output import print_results_json, say, stoppable
from modular_pluralism.optional import optional

EXAMPLES = examples("""
pluralism patch globalopinionqa.json --add africa --pool my-pool.toml --voice vote
pluralism patch globalopinionqa.json --add africa --pool culture --by country --limit 100 --out out/africa
""")


@expand_groups
def patch(
    task_file: RealTaskFileArgument,
    add: Annotated[str, typer.Option(metavar="NAME", help="The community of the pool that is added.")],
    bench: VotingBenchOptions,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="GROUPING",
            help="How items are grouped: continent or country, category or group, or attribute.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        path_option(
            "--out", "-o", metavar="DIR", help="Where patch.html and patch.json go; out/patch_NAME by default."
        ),
    ] = None,
    kind: KindOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a community changes for each group of people when it is added to a pool.

    The pool answers the same items with and without it; what the others say and vote is computed once. Groups that got
    worse are listed first.
    """
    optional("scipy", "eval", "A patch")
    from modular_pluralism.cli.progress import NOTHING_WRITTEN, EvalProgress
    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.evaluation.report import write_report
    from modular_pluralism.evaluation.report.folder import check_folder, write_json
    from modular_pluralism.patching.patch import Patch, PatchSettings

    work = Patch(TaskFile.open(task_file, kind=kind), PatchSettings(add=add, by=by, **vars(bench)))
    folder = out or Path("out") / f"patch_{add}"
    check_folder(folder)
    with stoppable(NOTHING_WRITTEN), EvalProgress(work.total, sys.stderr) as progress:
        result = asyncio.run(work.run(progress.made))
    # Shown first: what took so long must not be lost where it cannot be written.
    if as_json:
        print_results_json(result)
    else:
        print_results(result.results, rest=str(folder / "patch.html"))
        say(f"\nModel calls: {result.made} made, {result.reused} of the pool without {result.community} reused.")
    write_report(result.results, folder / "patch.html")
    write_json(folder / "patch.json", result)
    if not as_json:
        say(f"Written: {folder / 'patch.html'}\nWritten: {folder / 'patch.json'}")
