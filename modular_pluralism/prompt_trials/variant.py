"""A folder of prompts that is tried against the built-in ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import Kind
from modular_pluralism.evaluation.run.methods import MethodName, Scoring
from modular_pluralism.pool import Pool
from modular_pluralism.prompt_trials.uses import prompts_in_use
from modular_pluralism.prompts import PromptSet, Style

BUILT_IN = "built-in"


@dataclass(frozen=True)
class Variant:
    """`changed` are the prompts and personas, of those in use, whose text is not the built-in one."""

    name: str
    folder: Path
    prompts: PromptSet
    changed: tuple[str, ...]


@dataclass(frozen=True)
class InUse:
    """What decides which prompts are in use."""

    kind: Kind
    method: MethodName
    scoring: Scoring
    style: Style
    pool: Pool

    @property
    def prompts(self) -> frozenset[str]:
        """Names of the prompts that are in use."""
        return prompts_in_use(self.kind, self.method, self.scoring)

    def changed(self, prompts: PromptSet) -> tuple[str, ...]:
        """The prompts, then the communities, whose text differs from the built-in one."""
        built_in = PromptSet.load(style=self.style)
        texts = (name for name in sorted(self.prompts) if prompts[name].text.strip() != built_in[name].text.strip())
        speaking = self.pool.communities if self.method in ("moe", "modular") else ()
        personas = (
            f"persona of {name}"
            for name in speaking
            if self.pool.persona_text(name, prompts) != self.pool.persona_text(name, built_in)
        )
        return (*texts, *personas)


def open_variants(folders: Sequence[Path], use: InUse) -> list[Variant]:
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
    return [_open(folder, name, use) for folder, name in zip(folders, _names(folders), strict=True)]


def _open(folder: Path, name: str, use: InUse) -> Variant:
    prompts = PromptSet.load(folder, style=use.style)
    changed = use.changed(prompts)
    if not changed:
        raise InputError(
            f"The variant {folder} changes nothing here: {_others(prompts, use)}. The method {use.method} uses "
            f"{', '.join(sorted(use.prompts))} on this task; change one of these, or take another --method."
        )
    return Variant(name, folder, prompts, changed)


def _others(prompts: PromptSet, use: InUse) -> str:
    """What a variant changes beside what is in use."""
    built_in = PromptSet.load(style=use.style)
    changed = [name for name in prompts if prompts[name].text.strip() != built_in[name].text.strip()]
    changed += [name for name in prompts.personas if prompts.persona(name) != built_in.persona(name)]
    return f"it changes {', '.join(changed)} alone" if changed else "every text in it is the built-in one"


def _names(folders: Sequence[Path]) -> Iterable[str]:
    """The folders' own names, or their paths where two have the same one."""
    names = [folder.resolve().name for folder in folders]
    taken = [*names, BUILT_IN]
    return [name if taken.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]
