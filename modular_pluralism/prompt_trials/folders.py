"""Folders of prompts: beginning one with copies of the built-in prompts, and keeping what has won."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from modular_pluralism.errors import PromptError
from modular_pluralism.pool import Pool
from modular_pluralism.prompt_trials.uses import prompts_of_mode
from modular_pluralism.prompts import built_in_files, read_folder
from modular_pluralism.replaced_file import replaced_file
from modular_pluralism.types import Style


def files_of_mode(mode: str | None, *, style: Style = "chat", pool: Pool | None = None) -> dict[str, str]:
    """What a folder of prompts for the mode begins with: the texts of the built-in files that it uses, by their places
    in a folder; of every mode where it is None. Of `style` "completion" there are the texts for plain text where those
    are other ones. With a `pool`, the built-in personas of its communities are there, too."""
    known = built_in_files()
    names = prompts_of_mode(mode) if mode else {prompt.name for prompt in known.values() if prompt.mode != "persona"}
    in_chat = {name: f"{name}.txt" for name in sorted(names)}
    plain = {name: f"completion/{name}.txt" for name in in_chat if f"completion/{name}.txt" in known}
    files = [*(in_chat | plain if style == "completion" else in_chat).values()]
    if pool is not None:
        personas = {f"personas/{each.persona}" for each in pool.communities.values() if each.persona}
        files += sorted(personas & known.keys())
    return {file: known[file].file_text() for file in files}


def kept_files(folder: Path) -> dict[str, str]:
    """The texts of a folder's prompts that are not the built-in ones, by their places in it.

    Raises:
        PromptError: the folder cannot be used, or changes nothing.
    """
    files = read_folder(folder)
    for file in files:
        if file.problems:
            raise PromptError(f"In {folder}: {' '.join(file.problems)}")
    changed = {file.file: file.prompt.file_text() for file in files if file.prompt is not None and not file.same}
    if not changed:
        raise PromptError(f"{folder} changes no prompt, so there is nothing to keep; name the folder of a variant.")
    return changed


def write_prompts(folder: Path, texts: Mapping[str, str], *, force: bool = False) -> list[Path]:
    """Write prompts into a folder, by their places in it. A file that has the text already is left as it is.

    Returns:
        The files that were written.

    Raises:
        PromptError: one is there with another text, and it was not said to `force` it; or one cannot be written.
            Of files that are there, all are looked at before any is written.
    """
    paths = {folder / file: text for file, text in texts.items()}
    try:
        there = {path: path.read_bytes() for path in paths if path.exists()}
        new = {path: text for path, text in paths.items() if there.get(path) != text.encode()}
        if (others := [path for path in new if path in there]) and not force:
            names = ", ".join(path.relative_to(folder).as_posix() for path in others)
            raise PromptError(f"{folder} has another text of {names}; name another folder, or overwrite with --force.")
        for path, text in new.items():
            with replaced_file(path) as written:
                written.write(text)
    except OSError as error:
        raise PromptError(f"Prompts cannot be written to {folder} ({error.strerror}); name another folder.") from None
    return list(new)
