"""Prompts by their files: finding one by what a user calls it, and what a folder of prompts replaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modular_pluralism.errors import PromptError
from modular_pluralism.prompts.loader import (
    Prompt,
    built_in_files,
    entries,
    hint,
    listed,
    replacement,
    text_below_header,
    variables_in,
)


@dataclass(frozen=True)
class FolderFile:
    """A file in a folder of prompts: `file` is its place there, such as completion/merge.txt.

    Either `prompt` is what it replaces a built-in prompt by, and `same` says that the text does not differ from it; or
    `problems` has a sentence for each reason why the file cannot be used.
    """

    file: str
    prompt: Prompt | None = None
    same: bool = False
    problems: tuple[str, ...] = ()


def find_prompt(name: str) -> tuple[str, Prompt]:
    """A built-in prompt's file and the prompt: "merge", "merge.txt", "completion/merge", "personas/news_left".

    Raises:
        PromptError: there is none of that name.
    """
    known = built_in_files()
    for file in (name, f"{name}.txt", f"{name}.md", f"personas/{name}", f"personas/{name}.md"):
        if file in known:
            return file, known[file]
    short = [_short_name(file) for file in known]
    raise PromptError(
        f"there is no prompt {name!r}; `pluralism prompts` lists all of them{hint(name, short)}",
    )


def read_folder(folder: Path) -> list[FolderFile]:
    """Every file of a folder of prompts, checked, in a stable order; empty where it holds none.

    Raises:
        PromptError: there is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise PromptError(f"the prompt folder {folder} {what}; give a folder with files such as merge.txt")
    return [_checked(path, folder) for path in _files(folder)]


def _files(folder: Path) -> Iterator[Path]:
    """Files, and folders that prompts do not have."""
    folders = {Path(file).parent.name for file in built_in_files()} - {""}
    for entry in entries(folder):
        if entry.is_dir() and entry.name in folders:
            yield from entries(entry)
        else:
            yield entry


def _checked(path: Path, folder: Path) -> FolderFile:
    file = path.relative_to(folder).as_posix()
    known = built_in_files()
    if path.is_dir():
        return FolderFile(
            file, problems=(f"{file} is a folder that prompts do not have; move its files up, or remove it.",)
        )
    if file not in known:
        beside = [each for each in known if Path(each).parent == Path(file).parent]
        return FolderFile(
            file,
            problems=(
                f"{file} replaces no built-in prompt; rename it to one that `pluralism prompts` lists, or remove "
                f"it{hint(file, beside)}.",
            ),
        )
    try:
        prompt = replacement(path, known[file])
    except PromptError as error:
        return FolderFile(file, problems=tuple(_variable_problems(path, file, known[file])) or (f"{error}.",))
    return FolderFile(file, prompt, same=prompt.text.strip() == known[file].text.strip())


def _variable_problems(path: Path, file: str, original: Prompt) -> Iterator[str]:
    """One for each variable that the text lacks, or has too much: more than the first one helps who mends it."""
    if original.mode == "persona":
        return
    try:
        used = variables_in(text_below_header(path))
    except PromptError:
        return
    for name in original.variables:
        if name not in used:
            yield f"{file} does not use {{{name}}}; put it into the text."
    for name in used:
        if name not in original.variables:
            takes = listed(original.variables) or "no variables"
            yield (
                f"{file} uses {{{name}}}, but {original.name} takes {takes}; remove it, or write '{{{{{name}}}}}' for "
                f"literal braces{hint(name, original.variables)}."
            )


def _short_name(file: str) -> str:
    return file.removesuffix(".txt").removesuffix(".md")
