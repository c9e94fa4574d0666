"""`pluralism prompts`: see the prompts, check a folder of your own, try it on a task, and search for a better text."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli import compare
from modular_pluralism.cli.call_options import (
    AnsweringBenchOptions,
    JsonOption,
    KindOption,
    StyleOption,
    TaskFileArgument,
    examples,
    expand_groups,
    name_or_path_option,
    path_argument,
    path_option,
)
from modular_pluralism.cli.commands import App
from modular_pluralism.cli.output import print_json, print_results_json, print_table, say, stoppable, tell
from modular_pluralism.errors import PromptError
from modular_pluralism.optional import optional
from modular_pluralism.types import MethodName

if TYPE_CHECKING:
    from modular_pluralism.prompt_trials.result_models import (
        ChangedItem,
        SearchResult,
        TrialResult,
    )
    from modular_pluralism.prompts import FolderFile, Prompt

app = App(
    epilog=examples("""
pluralism prompts
pluralism prompts show merge > mine/merge.txt
pluralism prompts copy mine --mode overton
pluralism prompts check mine
pluralism prompts diff merge mine
pluralism prompts compare --questions my.txt --variant mine --rate
pluralism prompts try globalopinionqa.json --variant mine --limit 40
pluralism prompts optimise score_group --task globalopinionqa.json --limit 60 --budget 200
pluralism prompts keep mine --into prompts
"""),
)

app.command("compare", epilog=compare.EXAMPLES)(compare.compare)

_REASONS = 3
"""Reasons for refusing replies that the terminal shows; the report has all."""

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A prompt, such as merge, completion/merge or personas/news_left.")
]
FolderArgument = Annotated[Path, path_argument(metavar="DIR", help="A folder of prompts of yours.")]


ForceOption = Annotated[bool, typer.Option("--force", help="Overwrite files that have another text.")]


@dataclass(frozen=True, kw_only=True)
class TrialOptions(AnsweringBenchOptions):
    """What else trials and searches have of TrialSettings."""

    method: Annotated[MethodName, typer.Option("--method", "-m", help="The method that answers the items.")] = "modular"
    measure: Annotated[
        str | None, typer.Option(metavar="NAME", help="The measure that decides; the task's first by default.")
    ] = None


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


@app.command("show", epilog=examples("pluralism prompts show merge > mine/merge.txt"))
def show(name: NameArgument, as_json: JsonOption = False) -> None:
    """Print a built-in prompt as its file has it: a file to begin a variant with."""
    from modular_pluralism.prompts import find_prompt

    file, prompt = find_prompt(name)
    if as_json:
        print_json({**_row(file, prompt), "text": prompt.text})
    else:
        tell(prompt.file_text(), nl=False)


@app.command(
    "copy",
    epilog=examples("""
pluralism prompts copy mine --mode overton
pluralism prompts copy mine --mode distributional --pool culture
"""),
)
def copy(
    folder: FolderArgument,
    mode: Annotated[
        str | None,
        typer.Option("--mode", "-m", metavar="MODE", help="Only the prompts that this mode uses.", show_default=False),
    ] = None,
    pool: Annotated[
        str | None,
        name_or_path_option(
            "--pool",
            "-p",
            metavar="NAME|FILE",
            help="Also the personas of this pool's communities.",
            show_default=False,
        ),
    ] = None,
    style: StyleOption = "chat",
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the built-in prompts into a folder, to change them there: all of them, or those that a mode uses.

    Delete what you leave as it is: what the folder does not have, the built-in prompts give.
    """
    from modular_pluralism.modes import find_mode
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompt_trials.folders import files_of_mode, write_prompts

    texts = files_of_mode(
        None if mode is None else find_mode(mode).name, style=style, pool=None if pool is None else Pool.load(pool)
    )
    written = write_prompts(folder, texts, force=force)
    if as_json:
        print_json({"folder": str(folder), "files": list(texts), "written": _places(folder, written)})
        return
    for path in written:
        say(f"Written: {path}")
    say(f"{folder} has {len(texts)} prompts; {len(written)} of them are new there.")
    say(f"Change them, look with: pluralism prompts check {shlex.quote(str(folder))}", "dim")


@app.command("check", epilog=examples("pluralism prompts check mine"))
def check(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Say which prompts a folder replaces, and what keeps it from being used; then the exit code is 1."""
    from modular_pluralism.prompts import read_folder

    files = read_folder(folder)
    usable = bool(files) and not any(file.problems for file in files)
    if as_json:
        told = [
            {"file": own.file, "replaces": own.prompt is not None, "same": own.same, "problems": list(own.problems)}
            for own in files
        ]
        print_json({"folder": str(folder), "usable": usable, "files": told})
    else:
        _print_checked(folder, files)
    if not usable:
        raise typer.Exit(1)


@app.command("diff", epilog=examples("pluralism prompts diff merge mine"))
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
        tell(f"{folder / file} does not differ from the built-in prompt.")


@app.command("try", epilog=examples("pluralism prompts try globalopinionqa.json --variant mine --limit 40"))
@expand_groups
def try_variants(
    task_file: TaskFileArgument,
    variant: Annotated[list[Path], path_option("--variant", "-v", metavar="DIR", help="A folder of prompts; repeat.")],
    bench: TrialOptions,
    show: Annotated[int, typer.Option(min=0, help="Changed items to show of each variant.")] = 5,
    out: Annotated[Path | None, path_option("--out", "-o", metavar="DIR", help="Write the report there, too.")] = None,
    style: StyleOption = "chat",
    kind: KindOption = None,
    as_json: JsonOption = False,
) -> None:
    """Try folders of prompts against the built-in ones: the same items, the same seeds.

    Says of each folder whether it is better, worse, or not clearly different, by the task's own measure, with 95 %
    bootstrap intervals of the paired differences, and shows the items that changed most. What a folder does not change
    is computed once, for all of them.
    """
    from modular_pluralism.cli.progress import NOTHING_WRITTEN, EvalProgress
    from modular_pluralism.evaluation.data.task_file import TaskFile
    from modular_pluralism.evaluation.report.folder import check_folder
    from modular_pluralism.prompt_trials.bench import TrialSettings
    from modular_pluralism.prompt_trials.markdown import trial_markdown, write_report
    from modular_pluralism.prompt_trials.trial import Trial

    if out is not None:
        check_folder(out)
    trial = Trial(TaskFile.open(task_file, kind=kind), variant, TrialSettings(style=style, **vars(bench)), shown=show)
    with stoppable(NOTHING_WRITTEN), EvalProgress(trial.total, sys.stderr) as progress:
        result = asyncio.run(trial.run(progress.made))
    # Shown first: what took so long must not be lost where it cannot be written.
    if as_json:
        print_results_json(result)
    else:
        _print_trial(result)
    written = [] if out is None else write_report(out, result, trial_markdown(result), "trial")
    if not as_json:
        for path in written:
            say(f"Written: {path}")


@app.command(
    "keep",
    epilog=examples("""
pluralism prompts keep mine --into prompts
pluralism prompts keep out/optimised_merge/prompts --into prompts --force
"""),
)
def keep(
    folder: FolderArgument,
    into: Annotated[
        Path, path_option("--into", metavar="DIR", help="The folder of the prompts that you use; made if need be.")
    ],
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take a variant that has won into the folder of the prompts that you use, which `--prompts` names everywhere.

    Only what the variant changes is copied. The built-in prompts are never written over.
    """
    from modular_pluralism.prompt_trials.folders import kept_files, write_prompts

    texts = kept_files(folder)
    written = write_prompts(into, texts, force=force)
    use = f"--prompts {shlex.quote(str(into))}"
    if as_json:
        told = {"folder": str(into), "files": list(texts), "written": _places(into, written), "use": use}
        print_json(told)
        return
    for path in written:
        say(f"Written: {path}")
    if not written:
        say(f"{into} has these texts already: {', '.join(texts)}.")
    say(f"Use it with: {use}")


@app.command(
    "optimise",
    epilog=examples("pluralism prompts optimise score_group --task globalopinionqa.json --limit 60 --budget 200"),
)
@expand_groups
def optimise(
    name: NameArgument,
    task_file: Annotated[Path, path_option("--task", metavar="FILE", help="A task file, as a JSON list.")],
    budget: Annotated[int, typer.Option(min=1, help="Most metric calls of the search: items answered and scored.")],
    bench: TrialOptions,
    reflect: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The pool's model that writes texts; by default the base LLM.")
    ] = None,
    reflect_tokens: Annotated[int, typer.Option(min=1, help="Longest reply of the model that writes texts.")] = 512,
    keep: Annotated[
        bool, typer.Option("--keep", help="Write the best text even where it is not clearly better.")
    ] = False,
    out: Annotated[
        Path | None,
        path_option("--out", "-o", metavar="DIR", help="Where everything is written; out/optimised_NAME by default."),
    ] = None,
    kind: KindOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for a better text of one prompt, by reflection and evolution (GEPA).

    Half of the questions are held back. The best text of the search is compared with the built-in one on these, and
    only where it is clearly better there is it written, to DIR/prompts, which `--prompts` takes. The built-in prompts
    are never written over.
    """
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
        TrialSettings(**vars(bench)),
        reflect=reflect,
        reflect_tokens=reflect_tokens,
    )
    with stoppable(NOTHING_WRITTEN), EvalProgress(optimisation.total, sys.stderr) as progress:
        result = optimisation.run(progress.made)
    if as_json:
        print_results_json(result)
    else:
        _print_search(result)
    won = write_winner(folder, result, optimisation.prompt, keep=keep)
    written = write_report(folder, result, search_markdown(result), "search")
    written += [] if won is None else [won]
    if not as_json:
        for path in written:
            say(f"Written: {path}")


def _own(folder: Path, file: str) -> Prompt:
    """The folder's own prompt of that file.

    Raises:
        PromptError: the folder has none, or it is unusable.
    """
    from modular_pluralism.prompts import read_folder

    files = {own.file: own for own in read_folder(folder)}
    if file not in files:
        replaced = ", ".join(own.file for own in files.values() if own.prompt) or "none at all"
        raise PromptError(f"{folder} has no {file}, so the built-in prompt stands; it replaces {replaced}.")
    prompt = files[file].prompt
    if prompt is None:
        raise PromptError(f"In {folder}: {' '.join(files[file].problems)}")
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
    from modular_pluralism.pool import Pool
    from modular_pluralism.pools import BUILT_IN_POOLS

    persona = Path(file).name
    return [
        {"pool": pool, "community": name}
        for pool in BUILT_IN_POOLS
        for name, community in Pool.load(pool).communities.items()
        if community.persona == persona
    ]


def _print_checked(folder: Path, files: list[FolderFile]) -> None:
    for file in files:
        for problem in file.problems:
            say(f"! {problem}")
        if file.prompt is not None:
            same = ", with the text that it has already" if file.same else ""
            say(f"  {file.file} replaces the built-in prompt{same}.")
    bad = sum(bool(file.problems) for file in files)
    if not files:
        say(f"{folder} holds no prompt; put files such as merge.txt there.")
    elif bad:
        tell(f"{bad} of {len(files)} files cannot be used; mend what is marked by an exclamation mark.")
    elif all(file.same for file in files):
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
            tell(line)


def _print_trial(result: TrialResult) -> None:
    from modular_pluralism.cli.results_table import print_results
    from modular_pluralism.prompt_trials.result_models import calls_sentence

    for compared in result.variants:
        say(compared.sentence, "bold")
    say()
    print_results(result.results, rest="`--json` or `--out`")
    for item in result.items:
        _print_changed(item)
    say()
    say(calls_sentence(result.calls))


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
    sides = {"real": item.gold, "built-in": item.built_in.predicted, item.variant: item.other.predicted}
    rows = [
        (option, *(f"{shares[at]:.3f}" if shares else "–" for shares in sides.values()))
        for at, option in enumerate(item.options)
    ]
    print_table(("", *sides), rows, right=sides)


def _places(folder: Path, paths: Sequence[Path]) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


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
    tell(search_sentence(result))
    say(result.sentence, "bold")
