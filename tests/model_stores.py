"""Folders of models as other programs lay them out: the Hugging Face hub's cache, and Ollama's store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_hub_cache(cache: Path, repo: str, files: Iterable[Path], *, commit: str = COMMIT, ref: str = "main") -> Path:
    """A repository in the hub's cache, as huggingface_hub lays it out: refs, blobs, and links to these in a snapshot;
    returns the snapshot."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    snapshot = folder / "snapshots" / commit
    for each in (folder / "refs", folder / "blobs", snapshot):
        each.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / ref).write_text(commit)
    for file in files:
        blob = folder / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    return snapshot


def write_ollama(store: Path, path: str, *layers: tuple[str, bytes]) -> list[Path]:
    """A model in Ollama's store, as its `pull` and `create` write it; returns the blobs of its layers."""
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    blobs, listed = [], []
    for kind, data in (("config", b"{}"), *layers):
        digest = hashlib.sha256(data).hexdigest()
        blobs.append(store / "blobs" / f"sha256-{digest}")
        blobs[-1].write_bytes(data)
        media_type = f"application/vnd.ollama.image.{kind}"
        listed.append({"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)})
    config = {**listed.pop(0), "mediaType": "application/vnd.docker.container.image.v1+json"}
    manifest = store / "manifests" / path
    manifest.parent.mkdir(parents=True, exist_ok=True)
    known = {"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest.write_text(json.dumps({**known, "config": config, "layers": listed}))
    return blobs[1:]
