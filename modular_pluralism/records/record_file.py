"""A record in a file: indexed once, kept in the cache folder, and read anew when the file changes."""

from __future__ import annotations

import os
import tempfile
import threading
import zipfile
import zlib
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np

from modular_pluralism.errors import InputError, TrainingDataError
from modular_pluralism.home import cache_root
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.rows import stream_rows
from modular_pluralism.records.similarity import Arrays, Similarity
from modular_pluralism.records.survey import answered_items

_FORMAT = "2"
"""Of what is kept; another one is made anew."""
_CHUNK = 2**20
_NAMES = "names"
"""The array that lists all others: in a damaged file one may be missing."""


class RecordFile:
    """The record that a survey file holds; thread-safe.

    What it was indexed to lies in the cache folder under the file's path, with a digest of its content: a file that has
    changed is read anew, and an index of vectors takes over those of texts that are still there.
    """

    def __init__(self, path: Path, similarity: Similarity) -> None:
        self.path, self._similarity = path, similarity
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._record: CommunityRecord | None = None

    def record(self) -> CommunityRecord:
        """The record as the file is now.

        Raises:
            TrainingDataError: the file is missing, or holds no survey answers.
            ModelLoadError: what the similarity needs is not there.
        """
        stamp = self._stamp()
        with self._lock:
            if self._record is None or stamp != self._seen:
                self._record = self._read()
                self._seen = stamp
            return self._record

    def holds_up(self) -> bool:
        """Whether it takes a while to search the record now: the file is yet to be read, or a model is asked for what a
        question is. Raises TrainingDataError where the file is missing."""
        return self._similarity.embeds or self._record is None or self._stamp() != self._seen

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError as error:
            raise _unreadable(self.path, error) from None
        return status.st_mtime_ns, status.st_size

    def _read(self) -> CommunityRecord:
        try:
            digest, kept = content_digest(self.path), self._kept()
        except OSError as error:
            raise _unreadable(self.path, error) from None
        known = _load(kept)
        if known is not None and known["digest"].tobytes().decode() == digest:
            record = CommunityRecord.restored(known, self._similarity)
            if record is not None:
                return record
        items = answered_items(stream_rows(self.path))
        if not items:
            raise TrainingDataError(f"{self.path} holds no answers; write a row for each question and its answer.")
        record = CommunityRecord(items, self._similarity, known)
        if kept is not None and self._is_still(digest):
            _save(kept, {**record.arrays(), "digest": np.frombuffer(digest.encode(), np.uint8)})
        return record

    def _is_still(self, digest: str) -> bool:
        """Whether the rows that were read are those of the digest: the file may have been replaced between the two."""
        try:
            return content_digest(self.path) == digest
        except OSError:
            return False

    def _kept(self) -> Path | None:
        """Where the index is kept; None where nothing can be."""
        named = "\n".join([_FORMAT, self._similarity.name, str(self.path.resolve())])
        try:
            folder = cache_root("the indexes of records") / "records"
        except InputError:
            return None
        return folder / f"{blake2b(named.encode(), digest_size=16).hexdigest()}.npz"


def content_digest(path: Path) -> str:
    """Of all of a file's content. Raises OSError where it cannot be read."""
    digest = blake2b(digest_size=16)
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest()


def _unreadable(path: Path, error: OSError) -> TrainingDataError:
    if isinstance(error, FileNotFoundError):
        return TrainingDataError(f"There is no file {path}; check the path.")
    return TrainingDataError(f"{path} cannot be read ({error.strerror or error}); check that you may read it.")


def _load(path: Path | None) -> Arrays | None:
    """What is kept there; what cannot be read is as good as nothing."""
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        listed = arrays.pop(_NAMES).tobytes().decode().split("\n")
        return arrays if sorted(arrays) == listed else None
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None  # RuntimeError: its damaged head asks for a password, or for what zipfile has not implemented


def _save(path: Path, arrays: Arrays) -> None:
    """Keep arrays; where nothing can be written, the next process reads the file again."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(dir=path.parent, suffix=".new")
        try:
            with os.fdopen(handle, "wb") as file:
                names = np.frombuffer("\n".join(sorted(arrays)).encode(), np.uint8)
                np.savez(file, **{**arrays, _NAMES: names})  # type: ignore[arg-type]
            Path(new).replace(path)
        except OSError:
            Path(new).unlink(missing_ok=True)
