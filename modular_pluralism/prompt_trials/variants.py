"""Folders of prompts as variants of the prompts in use: their names, and what each changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from modular_pluralism.errors import InputError
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Style

BUILT_IN = "built-in"
"""The name of the built-in prompts among those that are tried."""


@dataclass(frozen=True)
class Variant:
    """`changed` are the prompts and personas, of those in use, whose text is not that of the base."""

    name: str
    prompts: PromptSet
    changed: tuple[str, ...]


def open_variants(
    folders: Sequence[Path],
    base: PromptSet,
    changed: Callable[[PromptSet], tuple[str, ...]],
    *,
    otherwise: str,
    style: Style = "chat",
    base_name: str = BUILT_IN,
) -> list[Variant]:
    """The folders as variants of `base`, named after them.

    `changed` says which prompts in use differ in a set; where none does, `otherwise` is what is said of those in use.

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
    variants = []
    for folder, name in zip(folders, _names(folders, base_name), strict=True):
        prompts = PromptSet.load(folder, style=style)
        if not (texts := changed(prompts)):
            others = _others(prompts, base, base_name)
            raise InputError(f"The variant {folder} changes nothing here: {others}. {otherwise}")
        variants.append(Variant(name, prompts, texts))
    return variants


def changed_texts(
    base: PromptSet, other: PromptSet, used: Collection[str], pool: Pool, speaking: Sequence[str]
) -> tuple[str, ...]:
    """The prompts of those `used`, then the personas of the communities `speaking`, whose text differs."""
    texts = (name for name in sorted(used) if other[name].text.strip() != base[name].text.strip())
    personas = (
        f"persona of {name}" for name in speaking if pool.persona_text(name, other) != pool.persona_text(name, base)
    )
    return (*texts, *personas)


def _others(prompts: PromptSet, base: PromptSet, base_name: str) -> str:
    """What a variant changes beside what is in use."""
    changed = [name for name in prompts if prompts[name].text.strip() != base[name].text.strip()]
    changed += [name for name in prompts.personas if prompts.persona(name) != base.persona(name)]
    return f"it changes {', '.join(changed)} alone" if changed else f"every text in it is the {base_name} one"


def _names(folders: Sequence[Path], base_name: str) -> list[str]:
    """The folders' own names, or their paths where two have the same one."""
    names = [folder.resolve().name for folder in folders]
    taken = [*names, base_name]
    return [name if taken.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]
