"""`pluralism patch`: a pool with and without one of its communities, on the same items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modular_pluralism.cli.call_options import JsonOption, KindOption, PoolOption, SeedOption, VoiceName, VoiceOption
from modular_pluralism.cli.eval import ReadingOption

if TYPE_CHECKING:
    from modular_pluralism.patching.patch import PatchResult

EXAMPLES = """
**Examples**

`pluralism patch globalopinionqa.json --add africa --pool my-pool.toml --voice vote`

`pluralism patch globalopinionqa.json --add africa --pool culture --by country --limit 100 --out out/africa`
"""


def patch(
    task_file: Annotated[Path, typer.Argument(metavar="TASKFILE", help="A task file with real distributions.")],
    add: Annotated[str, typer.Option("--add", metavar="NAME", help="The community of the pool that is added.")],
    pool: PoolOption = "perspective",
    voice: VoiceOption = VoiceName.comment,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="GROUPING",
            help="How items are grouped: continent or country, category or group, or attribute.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take the first items only.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Where patch.html and patch.json go; out/patch_NAME by default."
        ),
    ] = None,
    score: Annotated[ReadingOption, typer.Option("--score", help="How options are read.")] = ReadingOption.rotate,
    seed: SeedOption = 0,
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, help="Items that are worked on at once.")
    ] = 8,
    comment_tokens: Annotated[
        int | None, typer.Option("--comment-tokens", min=1, help="Longest comment, in place of the pool's setting.")
    ] = None,
    repeatable: Annotated[bool, typer.Option("--repeatable", help="The same texts whatever runs beside.")] = False,
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
    from modular_pluralism.evaluation.report.folder import check_folder, write_json
    from modular_pluralism.patching.patch import Patch, PatchSettings

    work = Patch(
        TaskFile.open(task_file, kind=None if kind is None else kind.value),
        PatchSettings(
            add=add,
            pool=pool,
            voice=voice.value,
            scoring=score.value,
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
    write_json(folder / "patch.json", result)
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
