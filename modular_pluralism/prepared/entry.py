"""What the cache knows of one model: where it came from, what was measured, and which file to use instead."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from modular_pluralism.llama.gguf_parts import latest_change, parts, real_path, size_of
from modular_pluralism.prepared.measured import MeasuredFormat
from modular_pluralism.prepared.processor import describe_processor, llama_cpp_version


class SourceStamp(BaseModel):
    """What tells whether a model is still the same: its real path, and the bytes, latest time of change and SHA-256 of
    its file, or of all files of a split one together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    bytes: int
    mtime_ns: int
    sha256: str


class Entry(BaseModel):
    """One model in the cache; the manifest beside its file.

    `file` is the prepared file's name, or None where the original was found to be the best; `bytes` is the size of the
    one that is used. `undecided` are the formats of which it is not clear whether they would be faster. `quick` marks
    an entry that a demo made with few measurements.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    source: SourceStamp
    original_format: str
    format: str
    file: str | None
    bytes: int
    reason: str
    undecided: tuple[str, ...] = ()
    quick: bool
    llama_cpp_python: str
    processor: str
    made: str
    measured: tuple[MeasuredFormat, ...]

    def problem(self, folder: Path) -> str | None:
        """Why the entry, whose file lies in `folder`, may not be used; None where it may.

        The source is hashed only where its time of change differs.
        """
        return self._wrong_host() or self._wrong_source() or self._wrong_file(folder)

    def _wrong_host(self) -> str | None:
        if self.processor != describe_processor():
            return "measured on another processor"
        if self.llama_cpp_python != llama_cpp_version():
            return f"measured with llama-cpp-python {self.llama_cpp_python}, and this is {llama_cpp_version()}"
        return None

    def _wrong_source(self) -> str | None:
        path = Path(self.source.path)
        try:
            if size_of(path) != self.source.bytes:
                return "the original has changed"
            if latest_change(path) != self.source.mtime_ns and file_hash(path) != self.source.sha256:
                return "the original has changed"
        except OSError:
            return "the original is gone"
        return None

    def _wrong_file(self, folder: Path) -> str | None:
        if self.file is None:
            return None
        try:
            size = (folder / self.file).stat().st_size
        except (OSError, ValueError):
            return "its file is gone"
        return None if size == self.bytes else "its file is damaged"


def stamp(source: Path) -> SourceStamp:
    """The stamp of a model file; reads it whole.

    Raises:
        OSError: it cannot be read.
    """
    path = real_path(source)
    return SourceStamp(path=str(path), bytes=size_of(path), mtime_ns=latest_change(path), sha256=file_hash(path))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of all files of a split model one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts(path):
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()
