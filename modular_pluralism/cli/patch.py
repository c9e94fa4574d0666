"""`pluralism patch`: a pool with and without one of its communities, on the same items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modular_pluralism.cli.call_options import (
    CommentTokensOption,
    ConcurrencyOption,
    ItemScoringOption,
    JsonOption,
    KindOption,
    LimitOption,
    PoolOption,
    RealTaskFileArgument,
    RepeatableOption,
    SeedOption,
    VoiceOption,
)

if TYPE_CHECKING:
    from modular_pluralism.patching.patch_result import PatchResult

EXAMPLES = """
**Examples**

`pluralism patch globalopinionqa.json --add africa --pool my-pool.toml --voice vote`

`pluralism patch globalopinionqa.json --add africa --pool culture --by country --limit 100 --out out/africa`
"""


def patch(
    task_file: RealTaskFileArgument,
    add: Annotated[str, typer.Option("--add", metavar="NAME", help="The community of the pool that is added.")],
    pool: PoolOption = "perspective",
    voice: VoiceOption = "comment",
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="GROUPING",
            help="How items are grouped: continent or country, category or group, or attribute.",
            show_default=False,
        ),
    ] = None,
    limit: LimitOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Where patch.html and patch.json go; out/patch_NAME by default."
        ),
    ] = None,
    score: ItemScoringOption = "rotate",
    seed: SeedOption = 0,
    concurrency: ConcurrencyOption = 8,
    comment_tokens: CommentTokensOption = None,
    repeatable: RepeatableOption = False,
    kind: KindOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a community changes for each group of people when it is added to a pool.

    The pool answers the same items with and without it; what the others say and vote is computed once. Groups that got
    worse are listed first.
    """
    from modular_pluralism.optional import optional

    optional("ijson", "eval", "A patch")
    optional("scipy", "eval", "A patch")
    optional("matplotlib", "eval", "The page of a patch")
    from modular_pluralism.cli.progress import with_progress
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.evaluation.report import write_report
    from modular_pluralism.patching.patch import Patch, PatchSettings
    from modular_pluralism.prompt_trials.report_folder import check_folder, write_text

    work = Patch(
        TaskFile.open(task_file, kind=kind),
        PatchSettings(
            add=add,
            pool=pool,
            voice=voice,
            scoring=score,
            by=by,
            limit=limit,
            seed=seed,
            concurrency=concurrency,
            comment_tokens=comment_tokens,
            repeatable=repeatable,
        ),
    )
    folder = out or Path("out") / f"patch_{add}"
    check_folder(folder)
    result = with_progress(work.total, work.run)
    # Shown first: what took so long must not be lost where it cannot be written.
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        _print(result, folder)
    write_report(result.results, folder / "patch.html")
    write_text(folder / "patch.json", result.model_dump_json(indent=1) + "\n")
    if not as_json:
        _print_written(folder)


def _print(result: PatchResult, folder: Path) -> None:
    from rich.console import Console

    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.cli.safe_text import safe

    console = Console(highlight=False)
    print_results(result.results, console, rest=str(folder / "patch.html"))
    console.print()
    calls = f"Model calls: {result.made} made, {result.reused} of the pool without {result.community} reused."
    console.print(safe(calls), soft_wrap=True)


def _print_written(folder: Path) -> None:
    from rich.console import Console

    from modular_pluralism.cli.safe_text import safe

    for name in ("patch.html", "patch.json"):
        Console(highlight=False).print(safe(f"Written: {folder / name}"), soft_wrap=True)
