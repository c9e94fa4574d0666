"""A folder of prompts that is tried against the built-in ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modular_pluralism.errors import InputError
from modular_pluralism.prompt_trials.bench import TrialBench
from modular_pluralism.prompt_trials.compare import BUILT_IN
from modular_pluralism.prompts import PromptSet


@dataclass(frozen=True)
class Variant:
    """`changed` are the prompts and personas, of those in use, whose text is not the built-in one."""

    name: str
    folder: Path
    prompts: PromptSet
    changed: tuple[str, ...]


def open_variants(folders: Sequence[Path], bench: TrialBench) -> list[Variant]:
    """The folders as variants, named after them.

    Raises:
        PromptError: a folder cannot be used.
        InputError: there is none, one is given twice, or one changes no prompt that is in use.
    """
    if not folders:
        raise InputError("There is nothing to try; give a folder of prompts with --variant.")
    known: set[Path] = set()
    for folder in folders:
        if folder.resolve() in known:
            raise InputError(f"The variant {folder} is given twice; leave one of them out.")
        known.add(folder.resolve())
    return [_open(folder, name, bench) for folder, name in zip(folders, _names(folders), strict=True)]


def _open(folder: Path, name: str, bench: TrialBench) -> Variant:
    prompts = PromptSet.load(folder, style=bench.settings.style)
    changed = bench.changed(prompts)
    if not changed:
        raise InputError(
            f"The variant {folder} changes nothing here: {_others(prompts, bench)}. The method "
            f"{bench.settings.method} uses {', '.join(sorted(bench.used))} on this task; change one of these, or take "
            "another --method."
        )
    return Variant(name, folder, prompts, changed)


def _others(prompts: PromptSet, bench: TrialBench) -> str:
    """What a variant changes beside what is in use."""
    built_in = bench.prompts
    changed = [name for name in prompts if prompts[name].text.strip() != built_in[name].text.strip()]
    changed += [name for name in prompts.personas if prompts.persona(name) != built_in.persona(name)]
    return f"it changes {', '.join(changed)} alone" if changed else "every text in it is the built-in one"


def _names(folders: Sequence[Path]) -> Iterable[str]:
    """The folders' own names, or their paths where two have the same one."""
    names = [folder.resolve().name for folder in folders]
    taken = [*names, BUILT_IN]
    return [name if taken.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]
