"""Which models are on this machine already, and how a pool file names each."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.home import home
from modular_pluralism.llama.gguf_header import read_header
from modular_pluralism.llama.gguf_parts import check_parts, size_of
from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.llama.hub_files import hub_cache, is_model_name
from modular_pluralism.llama.ollama_store import stored_models, weights_of
from modular_pluralism.prepared.formats import name_of_file_type

Place = Literal["hub cache", "Ollama", "LM Studio", "llama.cpp's cache", "Python package"]


@dataclass(frozen=True)
class FoundModel:
    """One model: its place, what a pool file says to name it, its first file, and what that says of itself.

    `key` is the key of the pool file, "lora" for an adapter. Where it cannot be used, `problem` says why.
    """

    place: Place
    source: str
    file: Path
    key: Literal["gguf", "lora"] = "gguf"
    bytes: int = 0
    architecture: str = ""
    quantisation: str = ""
    problem: str | None = None

    @property
    def line(self) -> str:
        """The line of a pool file that names it."""
        return f"{self.key} = {json.dumps(self.source, ensure_ascii=False)}"


def found_models() -> list[FoundModel]:
    """Every model in the hub's cache, with Ollama, LM Studio and llama.cpp, and in installed packages.

    A file that lies in several places, by links, is told once. Nothing is loaded or fetched.
    """
    known: set[Path] = set()
    models: list[FoundModel] = []
    for search in (_in_hub_cache, _in_ollama, _in_lm_studio, _in_llama_cpp, _in_packages):
        for model in search():
            real = model.file.resolve()
            if model.problem is None and real in known:
                continue
            known.add(real)
            models.append(model)
    return models


def _described(place: Place, source: str, file: Path) -> FoundModel | None:
    """The model in a file; None where it is none, such as a part of one that sees pictures."""
    try:
        file = check_parts(file)
        header = read_header(file)
        size = size_of(file)
    except (ModelLoadError, OSError) as error:
        return FoundModel(place, source, file, problem=str(error))
    kind = header.text("general.type") or "model"
    if kind not in ("model", "adapter") or not header.tensors:
        return None
    return FoundModel(
        place,
        source,
        file,
        "lora" if kind == "adapter" else "gguf",
        size,
        header.text("general.architecture"),
        name_of_file_type(header.text("general.file_type")),
    )


def _described_files(place: Place, folder: Path, named: Callable[[Path], str]) -> Iterator[FoundModel]:
    """The models among the .gguf files under a folder."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.rglob("*.gguf")):
            if is_model_name(path.name) and path.is_file() and (model := _described(place, named(path), path)):
                yield model


def _in_hub_cache() -> Iterator[FoundModel]:
    if (cache := hub_cache()) is not None:
        yield from _hub_layout("hub cache", cache, named_by_hub=True)


def _hub_layout(place: Place, cache: Path, *, named_by_hub: bool) -> Iterator[FoundModel]:
    for folder in _folders(cache, "models--*--*"):
        repo = folder.name.removeprefix("models--").replace("--", "/")
        main = _text(folder / "refs" / "main")
        # What main has comes first, since only that can be named as the hub names it.
        for snapshot in sorted(_folders(folder / "snapshots", "*"), key=lambda each: each.name != main):

            def named(path: Path, snapshot: Path = snapshot, repo: str = repo, main: str | None = main) -> str:
                inside = path.relative_to(snapshot).as_posix()
                return f"hf:{repo}/{inside}" if named_by_hub and snapshot.name == main else str(path)

            yield from _described_files(place, snapshot, named)


def _in_ollama() -> Iterator[FoundModel]:
    for folder, model in stored_models():
        source = f"ollama:{model.name.removesuffix(':latest')}"
        try:
            file = weights_of(folder, model)
        except ModelLoadError as error:
            if model.has_weights:
                yield FoundModel("Ollama", source, folder, problem=str(error))
            continue
        if described := _described("Ollama", source, file):
            yield described


def _in_lm_studio() -> Iterator[FoundModel]:
    for folder in lm_studio_folders():
        yield from _described_files("LM Studio", folder, str)


def lm_studio_folders() -> list[Path]:
    """Where LM Studio keeps models: the folder that was chosen in it, and its own, of today and of earlier versions."""
    if (at_home := home()) is None:
        return []
    pointed = _text(at_home / ".lmstudio-home-pointer")
    own = [*([Path(pointed)] if pointed else []), at_home / ".lmstudio", at_home / ".cache" / "lm-studio"]
    chosen = [Path(folder) for each in own if (folder := _downloads_folder(each / "settings.json"))]
    return list(dict.fromkeys([*chosen, *(each / "models" for each in own)]))


def _downloads_folder(settings: Path) -> str | None:
    try:
        told: Any = json.loads(_text(settings) or "{}")
    except (ValueError, RecursionError):
        return None
    folder = told.get("downloadsFolder") if isinstance(told, dict) else None
    return folder if isinstance(folder, str) and folder else None


def _in_llama_cpp() -> Iterator[FoundModel]:
    for folder in llama_cpp_folders():
        yield from _hub_layout("llama.cpp's cache", folder, named_by_hub=False)
        with contextlib.suppress(OSError):
            for path in sorted(folder.glob("*.gguf")):
                if is_model_name(path.name) and (model := _described("llama.cpp's cache", str(path), path)):
                    yield model


def llama_cpp_folders() -> list[Path]:
    """Where llama.cpp's own programs keep what they fetch: what LLAMA_CACHE says, else the system's folder for it."""
    if named := os.environ.get("LLAMA_CACHE"):
        return [Path(named)]
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA")
    elif sys.platform == "darwin":
        root = _at_home("Library/Caches")
    else:
        root = os.environ.get("XDG_CACHE_HOME") or _at_home(".cache")
    return [Path(root) / "llama.cpp"] if root else []


def _at_home(folder: str) -> str | None:
    own = home()
    return None if own is None else str(own / folder)


def _in_packages() -> Iterator[FoundModel]:
    for file in sorted(_package_files()):
        source = f"package:{file}"
        try:
            path = find_gguf(source)
        except ModelLoadError:
            continue  # not where Python finds packages
        if model := _described("Python package", source, path):
            yield model


def _package_files() -> Iterable[str]:
    """PACKAGE/FILE of every model that an installed package has."""
    for package in importlib.metadata.distributions():
        with contextlib.suppress(OSError, ValueError):
            for file in package.files or ():
                if file.suffix == ".gguf" and len(file.parts) > 1 and is_model_name(file.name):
                    yield file.as_posix()


def _folders(folder: Path, pattern: str) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.glob(pattern) if path.is_dir())
    return []


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except (OSError, ValueError):
        return None
