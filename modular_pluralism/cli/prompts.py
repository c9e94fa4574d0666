"""`pluralism prompts`: see the prompts, check a folder of your own, try it on a task, and search for a better text."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli.call_options import JsonOption

if TYPE_CHECKING:
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

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A prompt, such as merge, completion/merge or personas/news_left.")
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of prompts of yours.")]


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
