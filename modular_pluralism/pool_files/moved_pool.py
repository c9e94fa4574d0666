"""A pool file in another folder, beside the adapters that were imported for it."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from modular_pluralism.errors import PoolError, PromptError
from modular_pluralism.gguf_names import NO_PATHS
from modular_pluralism.model_tables import EmbeddedModel
from modular_pluralism.pool import Pool
from modular_pluralism.pool_files.pool_text import PoolText
from modular_pluralism.prompts import PromptSet
from modular_pluralism.replaced_file import replaced_file


def adapter_files(pool: Pool) -> dict[str, tuple[str, str]]:
    """By community, the published adapter that it names, and the file, relative to the pool's, that it is kept in.

    Raises:
        PoolError: a file would not lie beside the pool's, or is named for two adapters.
    """
    adapters = {
        name: (community.peft, community.lora)
        for name, community in pool.communities.items()
        if community.peft and community.lora
    }
    models: dict[str, tuple[str, str]] = {}
    for name, (peft, lora) in adapters.items():
        if _is_fixed(lora) or ".." in Path(lora).parts:
            raise PoolError(
                f"[communities.{name}] lora is {lora!r}, where no adapter is imported to; write a path that begins in "
                "the pool's folder"
            )
        made = (peft, pool.communities[name].model)
        if models.setdefault(Path(lora).as_posix(), made) != made:
            raise PoolError(f"[communities.{name}] lora {lora!r} is named for another adapter, too; name another file")
    return adapters


def moved_pool(pool: Pool, path: Path, target: Path) -> PoolText:
    """The text of the pool's file at `path` as it has to read at `target`, where adapters that have been imported lie
    beside it: every other relative path is told from there.

    Raises:
        PoolError: the file cannot be read, or only a person can change its paths; or a persona would be another text
            there.
    """
    file, folder = PoolText.read(path), target.parent
    _check_texts(pool, folder)
    wanted, document = copy.deepcopy(file.data()), file.document()
    embedded = {name: model for name, model in pool.models.items() if isinstance(model, EmbeddedModel)}
    paths = [("models", name, "gguf") for name in embedded]
    imported = {None, *(lora for _, lora in adapter_files(pool).values())}
    paths += [("communities", name, "lora") for name, each in pool.communities.items() if each.lora not in imported]
    for table, name, key in paths:
        moved = moved_path(wanted[table][name][key], pool.folder, folder)
        if moved is not None:
            wanted[table][name][key] = moved
            changed: Any = document[table]
            changed[name][key] = moved
    moved_file = replace(file.edited(document), path=target)
    if moved_file.data() != wanted:
        raise file.by_hand()
    return moved_file


def write_moved_pool(pool: Pool, file: PoolText) -> None:
    """Write what `moved_pool` has given, and the personas and chat templates that lie in the pool's own folder.

    Raises:
        PoolError: a file cannot be read or written.
    """
    folder = file.path.parent
    for text in {*filter(None, (each.persona_file for each in pool.communities.values())), *_template_files(pool)}:
        own, there = pool.folder / text, folder / text
        if own.is_file() and not there.is_file():
            try:
                there.parent.mkdir(parents=True, exist_ok=True)
                with replaced_file(there) as copied:
                    copied.write(own.read_bytes().decode("utf-8"))
            except (OSError, ValueError) as error:
                raise PoolError(f"{own} cannot be copied to {there} ({error}); copy it yourself") from error
    file.write(file.data())


def _template_files(pool: Pool) -> set[str]:
    """The chat templates that are named by a path in the pool's folder, where they have to lie."""
    named = {model.template_file for model in pool.models.values() if isinstance(model, EmbeddedModel)}
    return {file for file in named if file is not None and not _is_fixed(file)}


def _check_texts(pool: Pool, folder: Path) -> None:
    """A file beside a pool comes before the built-in persona of its name: another one there would be taken for it."""
    for file in _template_files(pool):
        own, there = pool.folder / file, folder / file
        if there.is_file() and own.read_bytes() != there.read_bytes():
            raise PoolError(
                f"{there} is there already, and is not the chat template {own}; name another folder with --out"
            )
    for name, community in pool.communities.items():
        persona = community.persona_file
        if persona is None or not (folder / persona).is_file():
            continue
        try:
            same = PromptSet.load().persona(persona, folder) == pool.persona_text(name)
        except PromptError:
            same = False
        if not same:
            raise PoolError(
                f"{folder / persona} is there already, and is not the persona of [communities.{name}]; "
                "name another folder with --out"
            )


def moved_path(path: str, old: Path, new: Path) -> str | None:
    """A path relative to one folder as it reads in another; None where it stays as it is."""
    if _is_fixed(path) or old.resolve() == new.resolve():
        return None
    return Path(os.path.relpath(old.resolve() / path, new.resolve())).as_posix()


def _is_fixed(path: str) -> bool:
    """Whether it is the same file from every folder."""
    return path.startswith((*NO_PATHS, "~")) or Path(path).is_absolute()
