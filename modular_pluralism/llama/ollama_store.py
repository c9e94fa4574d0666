"""The models that Ollama keeps: a manifest for each name and tag, and a blob for each of its layers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.gguf_names import OLLAMA_FORM, OLLAMA_MODEL
from modular_pluralism.home import expanded, home

_OF_THE_SERVICE = ("/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models", "/var/lib/ollama/models")
_REGISTRY, _OWN = "registry.ollama.ai", "library"
_MODEL, _ADAPTER = "application/vnd.ollama.image.model", "application/vnd.ollama.image.adapter"


@dataclass(frozen=True)
class OllamaModel:
    """One name of the store, and what its manifest says: its name as `ollama list` shows it, and its layers."""

    name: str
    layers: tuple[tuple[str, str], ...]
    """Media type and digest of each."""

    @property
    def has_weights(self) -> bool:
        """Whether any of them holds weights in GGUF format; models that run elsewhere have none."""
        return bool(self.digests(_MODEL))

    def digests(self, media_type: str) -> list[str]:
        """Of the layers of one type."""
        return [digest for kind, digest in self.layers if kind == media_type]


def store_folders() -> list[Path]:
    """Where Ollama keeps its models: what OLLAMA_MODELS says, else the user's folder and, on Linux, the service's."""
    named = os.environ.get("OLLAMA_MODELS", "").strip("\"' ")
    if named:
        return [expanded(named, ModelLoadError)]
    own = home()
    of_the_service = map(Path, _OF_THE_SERVICE if sys.platform == "linux" else ())
    return [*([] if own is None else [own / ".ollama" / "models"]), *of_the_service]


def from_ollama(source: str) -> Path:
    """The weights of a model that Ollama has pulled.

    Raises:
        ModelLoadError: it has none of that name, or one whose weights are not a single GGUF file.
    """
    match = OLLAMA_MODEL.fullmatch(source)
    if match is None:
        raise ModelLoadError(f"{source} is not complete; write it as {OLLAMA_FORM}.")
    wanted = _manifest_path(match["path"], match["tag"] or "latest")
    for folder in store_folders():
        if (manifest := folder / "manifests" / wanted).is_file():
            return _weights(source, folder, _read(manifest, wanted))
    known = [model.name for _, model in stored_models()]
    places = ", ".join(str(folder) for folder in store_folders()[:1])
    raise ModelLoadError(
        f"{source} is not in Ollama's store ({places}), which has {', '.join(known[:20]) or 'no models'}. Run "
        f"`ollama pull {source.removeprefix('ollama:')}`, or set OLLAMA_MODELS to the folder that has it."
    )


def stored_models() -> Iterator[tuple[Path, OllamaModel]]:
    """Every model with the folder of its store; manifests that cannot be read are left out."""
    for folder in store_folders():
        manifests = folder / "manifests"
        try:
            files = sorted(path for path in manifests.rglob("*") if path.is_file())
        except OSError:
            continue
        for path in files:
            try:
                yield folder, _read(path, path.relative_to(manifests))
            except ModelLoadError:
                continue


def weights_of(folder: Path, model: OllamaModel) -> Path:
    """The file with the weights. Raises ModelLoadError where there is none, more than one, or an adapter beside it."""
    return _weights(f"ollama:{model.name}", folder, model)


def _manifest_path(path: str, tag: str) -> Path:
    words = path.split("/")
    before = {1: (_REGISTRY, _OWN), 2: (_REGISTRY,)}.get(len(words), ())
    return Path(*before, *words, tag)


def _read(path: Path, inside: Path) -> OllamaModel:
    try:
        manifest: Any = json.loads(path.read_bytes())
        layers = tuple((str(layer["mediaType"]), str(layer["digest"])) for layer in manifest["layers"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelLoadError(
            f"Ollama's manifest {path} cannot be read ({type(error).__name__}); pull the model again."
        ) from error
    return OllamaModel(_name(inside), layers)


def _name(inside: Path) -> str:
    """A manifest's path as `ollama list` writes it: without Ollama's own registry and library."""
    *words, tag = inside.parts
    if words[:1] == [_REGISTRY]:
        words = words[2:] if words[1:2] == [_OWN] else words[1:]
    return f"{'/'.join(words)}:{tag}"


def _weights(source: str, folder: Path, model: OllamaModel) -> Path:
    weights = model.digests(_MODEL)
    if not weights:
        raise ModelLoadError(f"{source} has no weights in GGUF format on this machine; name another model.")
    if len(weights) > 1:
        raise ModelLoadError(
            f"{source} lies in {len(weights)} files without the names by which llama.cpp finds them; fetch the model "
            "from the Hugging Face hub (hf:OWNER/REPO:QUANT)."
        )
    blob = _blob(folder, weights[0])
    if adapters := model.digests(_ADAPTER):
        raise ModelLoadError(
            f"{source} is a base model with an adapter of its own; name {blob} as gguf, and "
            f"{_blob(folder, adapters[0])} as the lora of a community."
        )
    if not blob.is_file():
        raise ModelLoadError(f"{source} lacks its file {blob}; pull the model again.")
    return blob


def _blob(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest.replace(":", "-", 1).replace("/", "")
