"""What tells a model file from another of the same name, without reading all of it."""

from __future__ import annotations

from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama.gguf_parts import parts
from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.model_tables import EmbeddedModel
from modular_pluralism.pool import Pool
from modular_pluralism.records.record_file import content_digest

_HEADER = 2**20
_SAMPLE = 2**14
_SAMPLES = 64


def model_digests(pool: Pool) -> dict[str, str]:
    """A digest of every model file, adapter and record that the pool names and that is on this machine, by what the
    pool calls it. Whatever trains, converts or quantises a model changes it throughout, so that samples tell; people
    edit a record in one place, so that all of it is read."""
    named = [model.gguf for model in pool.models.values() if isinstance(model, EmbeddedModel)]
    named += [community.lora for community in pool.communities.values() if community.lora is not None]
    digests = {}
    for source in dict.fromkeys(named):
        with suppress(ModelLoadError, OSError):  # opening the model says what is wrong with it
            digests[source] = _digest(find_gguf(source, pool.folder, download=False))
    for name, community in pool.communities.items():
        if community.answers is not None and (file := pool.answers_file(name)) is not None:
            with suppress(OSError):
                digests[community.answers] = content_digest(file)
    return digests


def _digest(path: Path) -> str:
    """Of the size, the first MiB (where a header is) and evenly spread samples of each file of a model. Not of its time
    of change, which copying the file to another machine changes, too."""
    digest = blake2b(digest_size=16)
    for part in parts(path):
        size = part.stat().st_size
        digest.update(f"{size};".encode())
        with part.open("rb") as file:
            digest.update(file.read(_HEADER))
            for number in range(1, _SAMPLES + 1):
                file.seek(max(0, (size - _SAMPLE) * number // _SAMPLES))
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
