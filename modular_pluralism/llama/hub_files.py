"""Models on the Hugging Face hub and in its cache: hf:OWNER/REPO/FILE.gguf, hf:OWNER/REPO:QUANT and hf:OWNER/REPO."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modular_pluralism.errors import ConfigurationError, ModelLoadError
from modular_pluralism.gguf_names import HUB_FORM, HUB_MODEL
from modular_pluralism.llama.gguf_parts import PartName

_DEFAULT_TAGS = ("Q4_K_M", "Q8_0")
"""What llama.cpp looks for where no quantisation is named, before it takes the first file."""
_NO_MODELS = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""What stands in the names of files that llama.cpp takes for no model of their own."""
_SECONDS = 10.0
"""How long the hub may take to list a repository's files."""


@dataclass(frozen=True)
class HubName:
    """The parts of what stands after hf:. At most one of `tag` and `file` is there."""

    repo: str
    tag: str | None
    file: str | None

    @classmethod
    def of(cls, source: str) -> HubName:
        """The name in `source`, which begins with hf:. Raises ModelLoadError where it is not complete."""
        match = HUB_MODEL.fullmatch(source)
        if match is None:
            raise ModelLoadError(f"{source} is not complete; write it as {HUB_FORM}.")
        return cls(match["repo"], match["tag"], match["file"])


def is_model_name(name: str) -> bool:
    """Whether a file's name is that of a model or of its first part, and of nothing that goes with one."""
    file = PurePosixPath(name).name
    part = PartName.of(file)
    return (
        file.endswith(".gguf") and not any(word in file for word in _NO_MODELS) and (part is None or part.number == 1)
    )


def choose_file(files: Iterable[str], tag: str | None) -> str | None:
    """The model among a repository's files that has the quantisation `tag`, as llama.cpp finds it; None without one.

    A file of which the tag is a whole word comes before one that only ends with it (F16 is not BF16). Without a tag:
    Q4_K_M, else Q8_0, else the first. Of a split model, the first part.
    """
    models = [file for file in files if is_model_name(file)]
    for wanted in _DEFAULT_TAGS if tag is None else (tag,):
        for before in (r"(?:^|[-./])", ""):
            pattern = re.compile(rf"{before}{re.escape(wanted)}[.-]", re.IGNORECASE)
            if found := next((file for file in models if pattern.search(file)), None):
                return found
    return models[0] if models and tag is None else None


def from_hub(source: str, *, download: bool = True) -> Path:
    """The local file of a model on the hub, the first of a split one's; what is not in the cache yet is downloaded.

    Without a network, what the cache has is used; without `download`, the network is not asked.

    Raises:
        ModelLoadError: it is not there, or cannot be downloaded.
    """
    name = HubName.of(source)
    file = name.file or _file_with_tag(source, name, download)
    part = PartName.of(file)
    if part is not None and part.number != 1:
        raise ModelLoadError(
            f"{source} is part {part.number} of {part.count} of a split model; name the first part, "
            f"hf:{name.repo}/{part.first}, with which the others are fetched."
        )
    if not download:
        return _cached(source, name.repo, file)
    first = _download(source, name.repo, file)
    if part is not None:
        # All parts out of one revision, although the repository may change meanwhile.
        commit = first.parents[file.count("/")].name
        for other in part.names[1:]:
            _download(source, name.repo, other, commit)
    return first


def hub_cache() -> Path | None:
    """The hub's cache, or None without a home folder that it would lie in."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE)  # with a ~ where the hub's library has found no home folder
    return folder if folder.parts[:1] != ("~",) else None


def check_hub_cache(source: str, error: type[ConfigurationError] = ModelLoadError) -> None:
    """Raise `error` where `source` cannot be fetched, since there is no folder for it."""
    if hub_cache() is None:
        raise error(
            f"{source} cannot be fetched, since you have no home folder here to keep it in; name a folder in HF_HOME."
        )


def cached_files(repo: str) -> list[str]:
    """The .gguf files that the cache has of a repository's main branch, by name."""
    from huggingface_hub.file_download import repo_folder_name

    folder = (hub_cache() or Path()) / repo_folder_name(repo_id=repo, repo_type="model")
    with contextlib.suppress(OSError, UnicodeDecodeError):
        snapshot = folder / "snapshots" / (folder / "refs" / "main").read_text().strip()
        return sorted(path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*.gguf"))
    return []


def _cached(source: str, repo: str, file: str) -> Path:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, file)
    if not isinstance(found, str):
        raise _not_cached(source)
    return Path(found)


def _not_cached(source: str) -> ModelLoadError:
    return ModelLoadError(f"{source} is not on this machine yet; it is downloaded when it is first used.")


def _file_with_tag(source: str, name: HubName, download: bool) -> str:
    if not download:
        if (cached := choose_file(cached_files(name.repo), name.tag)) is None:
            raise _not_cached(source)
        return cached
    files, failure = _listed(name.repo)
    if failure is not None:
        files = cached_files(name.repo)
        if not files:
            raise _not_downloaded(source, failure) from failure
    if (file := choose_file(files, name.tag)) is not None:
        return file
    where = "the cache, and the hub does not answer" if failure is not None else "the repository"
    raise ModelLoadError(f"{source} names no model of {where}; it has {_told(files)}.")


def _listed(repo: str) -> tuple[list[str], Exception | None]:
    """The repository's files as the hub lists them, or why it does not."""
    from huggingface_hub import HfApi

    try:
        return [file.rfilename for file in HfApi().model_info(repo, timeout=_SECONDS).siblings or []], None
    except Exception as error:  # see _download
        return [], error


def _download(source: str, repo: str, file: str, commit: str | None = None) -> Path:
    from huggingface_hub import hf_hub_download

    check_hub_cache(source)
    try:
        if commit is None:
            return Path(hf_hub_download(repo_id=repo, filename=file))
        return Path(hf_hub_download(repo_id=repo, filename=file, revision=commit))
    except Exception as error:  # the hub's errors share no base class that covers network, missing and forbidden
        raise _not_downloaded(source if commit is None else f"hf:{repo}/{file}", error) from error


def _not_downloaded(source: str, error: Exception) -> ModelLoadError:
    return ModelLoadError(
        f"{source} could not be downloaded ({type(error).__name__}); check the name and the network, or point the pool "
        "file to a local file."
    )


def _told(files: Sequence[str]) -> str:
    models = [file for file in files if is_model_name(file)]
    more = f" and {len(models) - 20} more" if len(models) > 20 else ""
    return (", ".join(models[:20]) or "no .gguf file") + more
