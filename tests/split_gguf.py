"""A model in several files, as llama.cpp's own tool and converter write it, and the hub's cache as it keeps one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import gguf

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_split(whole: Path, target: Path, *, tensors: int = 9) -> list[Path]:
    """The model of `whole` in parts of so many tensors: TARGET-00001-of-0000N.gguf and so on, in order."""
    reader = gguf.GGUFReader(whole)
    fields = reader.fields
    writer = gguf.GGUFWriter(target, fields["general.architecture"].contents(), split_max_tensors=tensors)
    for name, field in fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(target.parent.glob(f"{target.stem}-*-of-*.gguf"))


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
