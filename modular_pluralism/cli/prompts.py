"""`pluralism prompts`: see the prompts, check a folder of your own, try it on a task, and search for a better text."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from modular_pluralism.cli.call_options import (
    AnswerTokensOption,
    CommentTokensOption,
    ConcurrencyOption,
    ItemScoringOption,
    JsonOption,
    KindOption,
    LimitOption,
    MethodOption,
    NliOption,
    PoolOption,
    RepeatableOption,
    SeedOption,
    StyleOption,
    TaskFileArgument,
)
from modular_pluralism.cli.output import print_json, print_table, safe, say, stoppable
from modular_pluralism.errors import PromptError
from modular_pluralism.optional import optional

if TYPE_CHECKING:
    from modular_pluralism.prompt_trials.result_models import ChangedItem, SearchResult, TrialResult
    from modular_pluralism.prompts import FolderFile, Prompt

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
        print_json({"prompts": rows})
    else:
        _print_rows(rows)


@app.command("show", epilog="**Example**: `pluralism prompts show merge > mine/merge.txt`")
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Print a built-in prompt as its file has it: a file to begin a variant with."""
    from modular_pluralism.prompts import find_prompt

    file, prompt = find_prompt(name)
    if as_json:
        print_json({**_row(file, prompt), "text": prompt.text})
    else:
        typer.echo(prompt.file_text(), nl=False)


@app.command("check", epilog="**Example**: `pluralism prompts check mine`")
def check(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Say which prompts a folder replaces, and what keeps it from being used; then the exit code is 1."""
    from modular_pluralism.prompts import read_folder

    files = read_folder(folder)
    usable = bool(files) and not any(each.problems for each in files)
    if as_json:
        print_json({"folder": str(folder), "usable": usable, "files": [_checked(each) for each in files]})
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
        print_json({"file": file, "same": not lines, "diff": lines})
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
    optional("ijson", "eval", "A trial of prompts")
    from modular_pluralism.cli.progress import NOTHING_WRITTEN, EvalProgress
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.evaluation.report.folder import check_folder
    from modular_pluralism.prompt_trials.bench import TrialSettings
    from modular_pluralism.prompt_trials.markdown import trial_markdown, write_report
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
    with stoppable(NOTHING_WRITTEN), EvalProgress(trial.total, sys.stderr) as progress:
        result = asyncio.run(trial.run(progress.made))
    written = [] if out is None else write_report(out, result, trial_markdown(result), "trial")
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        _print_trial(result)
        for path in written:
            say(f"Written: {path}")


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
    optional("ijson", "eval", "A search for a prompt")
    optional("gepa", "optimise", "A search for a prompt")
    from modular_pluralism.cli.progress import NOTHING_WRITTEN, EvalProgress
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.evaluation.report.folder import check_folder
    from modular_pluralism.prompt_trials.bench import TrialSettings
    from modular_pluralism.prompt_trials.markdown import search_markdown, write_report
    from modular_pluralism.prompt_trials.optimisation import Optimisation, check_no_prompts, write_winner
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
    with stoppable(NOTHING_WRITTEN), EvalProgress(optimisation.total, sys.stderr) as progress:
        result = optimisation.run(progress.made)
    written = write_report(folder, result, search_markdown(result), "search")
    won = write_winner(folder, result, optimisation.prompt, keep=keep)
    written += [] if won is None else [won]
    if as_json:
        typer.echo(result.model_dump_json(indent=2))
    else:
        _print_search(result)
        for path in written:
            say(f"Written: {path}")


def _own(folder: Path, file: str) -> Prompt:
    """The folder's own prompt of that file.

    Raises:
        PromptError: the folder has none, or it is unusable.
    """
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
    for each in files:
        for problem in each.problems:
            say(f"! {problem}")
        if each.prompt is not None:
            same = ", with the text that it has already" if each.same else ""
            say(f"  {each.file} replaces the built-in prompt{same}.")
    bad = sum(bool(each.problems) for each in files)
    if not files:
        say(f"{folder} holds no prompt; put files such as merge.txt there.")
    elif bad:
        typer.echo(f"{bad} of {len(files)} files cannot be used; mend what is marked by an exclamation mark.")
    elif all(each.same for each in files):
        say(f"{folder} can be used, but changes nothing.")
    else:
        say(f"{folder} can be used: give it as --prompts {folder}.")


def _print_rows(rows: list[dict[str, Any]]) -> None:
    cells = [
        (
            str(row["file"]).removesuffix(".txt").removesuffix(".md"),
            ", ".join(row["variables"]) or "–",
            _used(row["used_by"]),
            str(row["words"]),
        )
        for row in rows
    ]
    print_table(("prompt", "variables", "used by", "words"), cells, right=["words"])


def _used(uses: list[dict[str, str]]) -> str:
    """Uses in words, those of one graph or pool together: "steerable (select, respond), moe (answer)"."""
    parts: dict[str, list[str]] = {}
    for use in uses:
        whole, part = use.values()
        parts.setdefault(whole, []).append(part)
    persona = bool(uses) and "pool" in uses[0]
    return ", ".join(f"pool {whole}" if persona else f"{whole} ({', '.join(names)})" for whole, names in parts.items())


def _print_diff(lines: list[str]) -> None:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    for line in lines:
        if sys.stdout.isatty():
            style = "bold" if line.startswith(("+++", "---")) else colours.get(line[:1], "")
            say(line, style)
        else:
            typer.echo(safe(line).plain)


def _print_trial(result: TrialResult) -> None:
    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.prompt_trials.result_models import calls_sentence

    print_results(result.results, rest="`--json` or `--out`")
    for each in result.items:
        _print_changed(each)
    say()
    say(calls_sentence(result))
    for compared in result.variants:
        say(compared.sentence, "bold")


def _print_changed(item: ChangedItem) -> None:
    told = f", {item.attribute}" if item.attribute else ""
    say()
    change = f"{item.change:+.3f}".replace("-", "−")
    say(f"{item.variant}, item {item.id}{told}: {item.measure} {change}", "bold")
    say(" ".join(item.question.split()))
    if not item.options:
        for name, side in (("built-in", item.built_in), (item.variant, item.other)):
            say(f"{name}: {side.answer or side.error or ''}")
        return
    grid = Table(box=None, pad_edge=False)
    grid.add_column("")
    for name in ("real", "built-in", item.variant):
        grid.add_column(safe(name), justify="right")
    for place, option in enumerate(item.options):
        shares = (item.gold, item.built_in.predicted, item.other.predicted)
        grid.add_row(safe(option), *(f"{each[place]:.3f}" if each else "–" for each in shares))
    Console(highlight=False).print(grid)


def _print_search(result: SearchResult) -> None:
    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.prompt_trials.result_models import search_sentence

    print_results(result.results, rest="the report")
    say()
    if result.best is not None:
        say("The best text of the search:", "bold")
        say(result.best.rstrip())
        say()
    for reason, count in list(result.reasons.items())[:_REASONS]:
        say(f"Replies that could not be used, {count} times: {reason}", "dim")
    typer.echo(search_sentence(result))
    say(result.sentence, "bold")
