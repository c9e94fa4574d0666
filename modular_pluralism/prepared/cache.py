"""The folder of prepared files: one folder a model, with the file and a manifest.

An entry is written beside the others under another name and then moved to its place, so that there is never a half
one. One that does not fit (the original has changed, another processor, a damaged file) is listed, but not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from modular_pluralism.errors import InputError, PreparationError
from modular_pluralism.home import CACHE_VARIABLE, cache_root
from modular_pluralism.llama.gguf_parts import latest_change, real_path
from modular_pluralism.prepared.entry import Entry
from modular_pluralism.prepared.formats import FORMATS

_MANIFEST = "manifest.json"
_UNFINISHED = "unfinished-"
_ABANDONED = 24 * 3600
"""Seconds after which an unfinished folder belongs to nobody any more."""


@dataclass(frozen=True)
class Cached:
    """One folder of the cache: its name, its entry unless that cannot be read, and why it is not used, if it is not."""

    name: str
    folder: Path
    entry: Entry | None
    problem: str | None

    @property
    def bytes(self) -> int:
        """What the folder takes on the disk."""
        with contextlib.suppress(OSError):
            return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return 0


def cache_folder() -> Path:
    """Where prepared files lie; it need not exist yet. Raises InputError where there is no home folder for it."""
    return cache_root("prepared models") / "prepared"


def prepared_file(source: Path, *, exact: bool = False) -> Path | None:
    """The file to use in the place of the model file `source`, or None where that is to be used itself.

    `exact` takes only formats with which a text does not depend on what is decoded beside it. Quick: only the manifest
    is read. A cache that cannot be read is no cache.
    """
    entry = find_entry(source)
    if entry is None or entry.file is None or entry.format not in FORMATS:
        return None
    if exact and not FORMATS[entry.format].exact:
        return None
    return _folder_of(source) / entry.file


def find_entry(source: Path) -> Entry | None:
    """The usable entry for a model file, or None."""
    try:
        cached = _read(_folder_of(source))
        entry = cached.entry
        if entry is None or cached.problem is not None or entry.source.path != str(real_path(source)):
            return None
        _remember_time(entry, cached.folder)
    except (OSError, InputError):
        return None
    return entry


def _remember_time(entry: Entry, folder: Path) -> None:
    """Write down a new time of change of an unchanged source, so that it is hashed only once."""
    now = latest_change(Path(entry.source.path))
    if now == entry.source.mtime_ns:
        return
    changed = entry.model_copy(update={"source": entry.source.model_copy(update={"mtime_ns": now})})
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=cache_folder()) as work:
        new = Path(work) / _MANIFEST
        new.write_text(changed.model_dump_json(indent=2), encoding="utf-8")
        new.replace(folder / _MANIFEST)


def everything() -> list[Cached]:
    """All that is in the cache, by name; what is being written at this moment is not."""
    try:
        folders = sorted(path for path in cache_folder().iterdir() if path.is_dir())
    except OSError:
        return []
    return [_read(folder) for folder in folders if not folder.name.startswith(_UNFINISHED) or _is_abandoned(folder)]


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder inside the cache for files that are not finished; it is gone after the block, however that ends.

    Raises:
        PreparationError: nothing can be written there.
    """
    root = cache_folder()
    try:
        root.mkdir(parents=True, exist_ok=True)
        for left in root.glob(f"{_UNFINISHED}*"):
            if _is_abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=root))
    except OSError as error:
        raise PreparationError(
            f"Nothing can be written in {root} ({error.strerror}); name another folder in {CACHE_VARIABLE}."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def store(entry: Entry, source: Path, work: Path) -> Path:
    """Put an entry, whose file lies in the workplace `work`, into the cache in the place of an older one.

    Returns its folder. Raises PreparationError where it cannot be written.
    """
    final, new = _folder_of(source), work / "entry"
    try:
        new.mkdir()
        (new / _MANIFEST).write_text(entry.model_dump_json(indent=2), encoding="utf-8")
        if entry.file is not None:
            (work / entry.file).rename(new / entry.file)
        if final.exists():
            final.rename(work / "older")
        new.rename(final)
    except OSError as error:
        raise PreparationError(
            f"The result could not be stored in {final} ({error.strerror}); remove that folder and try again."
        ) from error
    return final


def remove(name: str) -> Cached:
    """Remove an entry by its name, or by its model's name where only one has that; returns what was removed.

    Raises:
        InputError: there is no such entry, or more than one.
    """
    entries = everything()
    named = [cached for cached in entries if cached.name == name] or [
        cached for cached in entries if cached.entry is not None and Path(cached.entry.source.path).stem == name
    ]
    known = ", ".join(cached.name for cached in entries) or "nothing"
    if len(named) != 1:
        how = "no entry" if not named else "more than one entry"
        raise InputError(f"The cache has {how} named {name!r}; it has {known}.")
    _delete(named[0])
    return named[0]


def remove_all() -> list[Cached]:
    """Empty the cache; returns what was removed."""
    entries = everything()
    for cached in entries:
        _delete(cached)
    return entries


def _delete(cached: Cached) -> None:
    try:
        shutil.rmtree(cached.folder)
    except OSError as error:
        raise PreparationError(
            f"{cached.folder} could not be removed ({error.strerror}); check that you may write there."
        ) from error


def _folder_of(source: Path) -> Path:
    path = str(real_path(source))
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", source.stem)[:80]
    return cache_folder() / f"{plain}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _read(folder: Path) -> Cached:
    """A folder of the cache as it is. Raises no error for what is in it."""
    if folder.name.startswith(_UNFINISHED):
        return Cached(folder.name, folder, None, "was never finished")
    try:
        entry = Entry.model_validate_json((folder / _MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return Cached(folder.name, folder, None, "its manifest cannot be read")
    if entry.file is not None and Path(entry.file).name != entry.file:
        return Cached(folder.name, folder, None, "its manifest names a file elsewhere")
    return Cached(folder.name, folder, entry, entry.problem(folder))


def _is_abandoned(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _ABANDONED
    except OSError:
        return False
