"""`pluralism prompts`: see the prompts, check a folder of your own, try it on a task, and search for a better text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from modular_pluralism.cli.call_options import (
    AnswerTokensOption,
    CommentTokensOption,
    ConcurrencyOption,
    ItemScoringOption,
    JsonOption,
    KindOption,
    LimitOption,
    MethodOption,
    PoolOption,
    RepeatableOption,
    SeedOption,
    StyleOption,
    TaskFileArgument,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from modular_pluralism.prompt_trials.search_result import SearchResult
    from modular_pluralism.prompt_trials.trial_result import ChangedItem, Side, TrialResult
    from modular_pluralism.prompts import FolderFile, Prompt

T = TypeVar("T")

app = typer.Typer(
    help="List the prompts, check a folder of your own, try it on a task, and search for a better text.",
    epilog="""
**Examples**

`pluralism prompts`

`pluralism prompts show merge > mine/merge.txt`

`pluralism prompts check mine`

`pluralism prompts diff merge mine`

`pluralism prompts try globalopinionqa.json --variant mine --limit 40`

`pluralism prompts optimise score_group --task globalopinionqa.json --limit 60 --budget 200`
""",
    rich_markup_mode="markdown",
)

_REASONS = 3
"""Reasons for refusing replies that the terminal shows; the report has all."""

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A prompt, such as merge, completion/merge or personas/news_left.")
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of prompts of yours.")]

NliOption = Annotated[
    str | None,
    typer.Option("--nli", metavar="MODEL", help="Overton: what value coverage is measured with, as for `eval`."),
]
MeasureOption = Annotated[
    str | None,
    typer.Option("--measure", metavar="NAME", help="The measure that decides; the task's first by default."),
]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Write the report there, too.")]


@app.callback(invoke_without_command=True)
def list_prompts(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the prompts, check a folder of your own, try it on a task, and search for a better text."""
    if context.invoked_subcommand is not None:
        return
    from modular_pluralism.prompts import built_in_files

    rows = [_row(file, prompt) for file, prompt in built_in_files().items()]
    if as_json:
        _print_json({"prompts": rows})
    else:
        _print_rows(rows)


@app.command("show", epilog="**Example**: `pluralism prompts show merge > mine/merge.txt`")
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Print a built-in prompt as its file has it: a file to begin a variant with."""
    from modular_pluralism.prompts import find_prompt

    file, prompt = find_prompt(name)
    if as_json:
        _print_json({**_row(file, prompt), "text": prompt.text})
    else:
        typer.echo(prompt.file_text(), nl=False)


@app.command("check", epilog="**Example**: `pluralism prompts check mine`")
def check(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Say which prompts a folder replaces, and what keeps it from being used; then the exit code is 1."""
    from modular_pluralism.prompts import read_folder

    files = read_folder(folder)
    usable = bool(files) and not any(each.problems for each in files)
    if as_json:
        _print_json({"folder": str(folder), "usable": usable, "files": [_checked(each) for each in files]})
    else:
        _print_checked(folder, files)
    if not usable:
        raise typer.Exit(1)


@app.command("diff", epilog="**Example**: `pluralism prompts diff merge mine`")
def diff(name: NameArgument, folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Show how a folder's prompt differs from the built-in one, as a unified diff."""
    from difflib import unified_diff

    from modular_pluralism.prompts import find_prompt

    file, prompt = find_prompt(name)
    own = _own(folder, file)
    lines = list(
        unified_diff(
            prompt.file_text().splitlines(),
            own.file_text().splitlines(),
            f"built-in/{file}",
            (folder / file).as_posix(),
            lineterm="",
        )
    )
    if as_json:
        _print_json({"file": file, "same": not lines, "diff": lines})
    elif lines:
        _print_diff(lines)
    else:
        typer.echo(f"{folder / file} does not differ from the built-in prompt.")


@app.command("try", epilog="**Example**: `pluralism prompts try globalopinionqa.json --variant mine --limit 40`")
def try_variants(
    task_file: TaskFileArgument,
    variant: Annotated[list[Path], typer.Option("--variant", "-v", metavar="DIR", help="A folder of prompts; repeat.")],
    method: MethodOption = "modular",
    pool: PoolOption = "perspective",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    measure: MeasureOption = None,
    show: Annotated[int, typer.Option("--show", min=0, help="Changed items to show of each variant.")] = 5,
    out: OutOption = None,
    concurrency: ConcurrencyOption = 8,
    score: ItemScoringOption = "rotate",
    style: StyleOption = "chat",
    kind: KindOption = None,
    nli: NliOption = None,
    comment_tokens: CommentTokensOption = None,
    answer_tokens: AnswerTokensOption = None,
    repeatable: RepeatableOption = False,
    as_json: JsonOption = False,
) -> None:
    """Try folders of prompts against the built-in ones: the same items, the same seeds.

    Says of each folder whether it is better, worse, or not clearly different, by the task's own measure, with 95 %
    bootstrap intervals of the paired differences, and shows the items that changed most. What a folder does not change
    is computed once, for all of them.
    """
    import asyncio

    from modular_pluralism.optional import optional

    optional("ijson", "eval", "A trial of prompts")
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.prompt_trials.bench import TrialSettings
    from modular_pluralism.prompt_trials.markdown import trial_markdown
    from modular_pluralism.prompt_trials.report_folder import check_folder, write_report
    from modular_pluralism.prompt_trials.trial import Trial

    if out is not None:
        check_folder(out)
    trial = Trial(
        TaskFile.open(task_file, kind=kind),
        variant,
        TrialSettings(
            method=method,
            pool=pool,
            limit=limit,
            seed=seed,
            concurrency=concurrency,
            scoring=score,
            style=style,
            comment_tokens=comment_tokens,
            answer_tokens=answer_tokens,
            repeatable=repeatable,
            nli=nli,
            measure=measure,
        ),
        shown=show,
    )
    result = _with_progress(trial.total, lambda made: asyncio.run(trial.run(made)))
    written = [] if out is None else write_report(out, result, trial_markdown(result), "trial")
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        _print_trial(result)
        for path in written:
            typer.echo(f"Written: {path}")


@app.command(
    "optimise",
    epilog="**Example**: `pluralism prompts optimise score_group --task globalopinionqa.json --limit 60 --budget 200`",
)
def optimise(
    name: NameArgument,
    task_file: Annotated[Path, typer.Option("--task", metavar="FILE", help="A task file, as a JSON list.")],
    budget: Annotated[
        int, typer.Option("--budget", min=1, help="Most metric calls of the search: items answered and scored.")
    ],
    reflect: Annotated[
        str | None,
        typer.Option("--reflect", metavar="MODEL", help="The pool's model that writes texts; by default the base LLM."),
    ] = None,
    reflect_tokens: Annotated[
        int, typer.Option("--reflect-tokens", min=1, help="Longest reply of the model that writes texts.")
    ] = 512,
    keep: Annotated[
        bool, typer.Option("--keep", help="Write the best text even where it is not clearly better.")
    ] = False,
    method: MethodOption = "modular",
    pool: PoolOption = "perspective",
    limit: LimitOption = None,
    seed: SeedOption = 0,
    measure: MeasureOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Where everything is written; out/optimised_NAME by default."),
    ] = None,
    concurrency: ConcurrencyOption = 8,
    score: ItemScoringOption = "rotate",
    kind: KindOption = None,
    nli: NliOption = None,
    comment_tokens: CommentTokensOption = None,
    answer_tokens: AnswerTokensOption = None,
    repeatable: RepeatableOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search for a better text of one prompt, by reflection and evolution (GEPA).

    Half of the questions are held back. The best text of the search is compared with the built-in one on these, and
    only where it is clearly better there is it written, to DIR/prompts, which `--prompts` takes. The built-in prompts
    are never written over.
    """
    from modular_pluralism.optional import optional

    optional("ijson", "eval", "A search for a prompt")
    optional("gepa", "optimise", "A search for a prompt")
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.prompt_trials.bench import TrialSettings
    from modular_pluralism.prompt_trials.markdown import search_markdown
    from modular_pluralism.prompt_trials.optimisation import Optimisation, write_winner
    from modular_pluralism.prompt_trials.report_folder import check_folder, check_no_prompts, write_report
    from modular_pluralism.prompts import find_prompt

    file, _ = find_prompt(name)
    folder = out or Path("out") / f"optimised_{Path(file).stem}"
    check_folder(folder)
    check_no_prompts(folder)
    optimisation = Optimisation(
        TaskFile.open(task_file, kind=kind),
        name,
        budget,
        TrialSettings(
            method=method,
            pool=pool,
            limit=limit,
            seed=seed,
            concurrency=concurrency,
            scoring=score,
            comment_tokens=comment_tokens,
            answer_tokens=answer_tokens,
            repeatable=repeatable,
            nli=nli,
            measure=measure,
        ),
        reflect=reflect,
        reflect_tokens=reflect_tokens,
    )
    result = _with_progress(optimisation.total, optimisation.run)
    written = write_report(folder, result, search_markdown(result), "search")
    won = write_winner(folder, result, optimisation.prompt, keep=keep)
    written += [] if won is None else [won]
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        _print_search(result)
        for path in written:
            typer.echo(f"Written: {path}")


def _with_progress(total: int, run: Callable[[Callable[[Any, Any], None]], T]) -> T:
    """What `run` gives, with a bar or lines on standard error; ends quietly on Ctrl-C."""
    import asyncio

    from modular_pluralism.cli.eval_progress import EvalProgress

    try:
        with EvalProgress(total, sys.stderr) as progress:
            return run(progress.made)
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("Stopped. Nothing was written.", err=True)
        raise typer.Exit(130) from None


def _own(folder: Path, file: str) -> Prompt:
    """The folder's own prompt of that file.

    Raises:
        PromptError: the folder has none, or it is unusable.
    """
    from modular_pluralism.errors import PromptError
    from modular_pluralism.prompts import read_folder

    found = {each.file: each for each in read_folder(folder)}
    if file not in found:
        replaced = ", ".join(each.file for each in found.values() if each.prompt) or "none at all"
        raise PromptError(f"{folder} has no {file}, so the built-in prompt stands; it replaces {replaced}.")
    prompt = found[file].prompt
    if prompt is None:
        raise PromptError(f"In {folder}: {' '.join(found[file].problems)}")
    return prompt


def _row(file: str, prompt: Prompt) -> dict[str, Any]:
    from modular_pluralism.prompt_trials.uses import uses_of

    uses = [] if prompt.mode == "persona" else uses_of(prompt.name)
    return {
        "name": prompt.name,
        "file": file,
        "mode": prompt.mode,
        "variables": list(prompt.variables),
        "version": prompt.version,
        "words": len(prompt.text.split()),
        "characters": len(prompt.text),
        "used_by": _by_persona(file) if prompt.mode == "persona" else [use._asdict() for use in uses],
    }


def _by_persona(file: str) -> list[dict[str, str]]:
    """The communities of the built-in pools that have the persona."""
    from modular_pluralism.pool import BUILT_IN_POOLS, Pool

    persona = Path(file).name
    return [
        {"pool": pool, "community": name}
        for pool in BUILT_IN_POOLS
        for name, community in Pool.load(pool).communities.items()
        if community.persona == persona
    ]


def _checked(file: FolderFile) -> dict[str, Any]:
    return {"file": file.file, "replaces": file.prompt is not None, "same": file.same, "problems": list(file.problems)}


def _print_checked(folder: Path, files: list[FolderFile]) -> None:
    from modular_pluralism.cli.safe_text import safe

    for each in files:
        for problem in each.problems:
            typer.echo(safe(f"! {problem}").plain)
        if each.prompt is not None:
            same = ", with the text that it has already" if each.same else ""
            typer.echo(safe(f"  {each.file} replaces the built-in prompt{same}.").plain)
    bad = sum(bool(each.problems) for each in files)
    if not files:
        typer.echo(safe(f"{folder} holds no prompt; put files such as merge.txt there.").plain)
    elif bad:
        typer.echo(f"{bad} of {len(files)} files cannot be used; mend what is marked by an exclamation mark.")
    elif all(each.same for each in files):
        typer.echo(safe(f"{folder} can be used, but changes nothing.").plain)
    else:
        typer.echo(safe(f"{folder} can be used: give it as --prompts {folder}.").plain)


def _print_rows(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from modular_pluralism.cli.safe_text import safe

    table = Table()
    for heading in ("prompt", "variables", "used by", "words"):
        table.add_column(heading, justify="right" if heading == "words" else "left", overflow="fold")
    for row in rows:
        name = str(row["file"]).removesuffix(".txt").removesuffix(".md")
        cells = (name, ", ".join(row["variables"]) or "–", _used(row["used_by"]), str(row["words"]))
        table.add_row(*map(safe, cells))
    Console(highlight=False).print(table)


def _used(uses: list[dict[str, str]]) -> str:
    """Uses in words, those of one graph or pool together: "steerable (select, respond), moe (answer)"."""
    parts: dict[str, list[str]] = {}
    for use in uses:
        whole, part = use.values()
        parts.setdefault(whole, []).append(part)
    persona = bool(uses) and "pool" in uses[0]
    return ", ".join(f"pool {whole}" if persona else f"{whole} ({', '.join(names)})" for whole, names in parts.items())


def _print_diff(lines: list[str]) -> None:
    from rich.console import Console

    from modular_pluralism.cli.safe_text import safe

    colours = {"+": "green", "-": "red", "@": "cyan"}
    console = Console(highlight=False)
    for line in lines:
        if sys.stdout.isatty():
            style = "bold" if line.startswith(("+++", "---")) else colours.get(line[:1], "")
            console.print(safe(line, style), soft_wrap=True)
        else:
            typer.echo(safe(line).plain)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _print_trial(result: TrialResult) -> None:
    from rich.console import Console

    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.cli.safe_text import safe
    from modular_pluralism.prompt_trials.trial_result import calls_sentence

    console = Console(highlight=False)
    print_results(result.results, console, rest="`--json` or `--out`")
    for each in result.items:
        _print_changed(each)
    typer.echo("")
    typer.echo(safe(calls_sentence(result)).plain)
    for compared in result.variants:
        console.print(safe(compared.sentence, "bold"), soft_wrap=True)


def _print_changed(item: ChangedItem) -> None:
    from rich.console import Console
    from rich.table import Table

    from modular_pluralism.cli.safe_text import safe

    console = Console(highlight=False)
    told = f", {item.attribute}" if item.attribute else ""
    console.print()
    change = f"{item.change:+.3f}".replace("-", "−")
    heading = f"{item.variant}, item {item.id}{told}: {item.measure} {change}"
    console.print(safe(heading, "bold"), soft_wrap=True)
    console.print(safe(" ".join(item.question.split())), soft_wrap=True)
    if not item.options:
        for name, side in (("built-in", item.built_in), (item.variant, item.other)):
            console.print(safe(f"{name}: {side.answer or side.error or ''}"), soft_wrap=True)
        return
    grid = Table(box=None, pad_edge=False)
    grid.add_column("")
    for name in ("real", "built-in", item.variant):
        grid.add_column(safe(name), justify="right")
    for place, option in enumerate(item.options):
        shares = (item.gold, _shares(item.built_in), _shares(item.other))
        grid.add_row(safe(option), *(f"{each[place]:.3f}" if each else "–" for each in shares))
    console.print(grid)


def _shares(side: Side) -> list[float]:
    return side.predicted or []


def _print_search(result: SearchResult) -> None:
    from rich.console import Console

    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.cli.safe_text import safe
    from modular_pluralism.prompt_trials.search_result import search_sentence

    console = Console(highlight=False)
    print_results(result.results, console, rest="the report")
    console.print()
    if result.best is not None:
        console.print(safe("The best text of the search:", "bold"))
        console.print(safe(result.best.rstrip()), soft_wrap=True)
        console.print()
    for reason, count in list(result.reasons.items())[:_REASONS]:
        console.print(safe(f"Replies that could not be used, {count} times: {reason}", "dim"), soft_wrap=True)
    typer.echo(search_sentence(result))
    console.print(safe(result.sentence, "bold"), soft_wrap=True)
