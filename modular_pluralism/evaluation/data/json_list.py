"""The objects of a JSON list, one after another, so that a file of any length needs the memory of one of them."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from modular_pluralism.errors import TaskFileError
from modular_pluralism.optional import optional

DEEPEST = 16
"""A value nested deeper than this is no item; it would only cost memory."""
LONGEST = 4 * 2**20
"""Bytes of the longest item: the parser keeps a value whole, whatever its length."""

_CHUNK = 64 * 1024
_LONGEST = 12  # bytes of an escaped character outside the basic plane
_ESCAPE = re.compile(
    rb"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\u[0-9a-fA-F]{4}|\\[^u]"
)
_BEGUN = re.compile(rb"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?")
"""The beginning of the second half of such a character, or nothing yet."""


class JsonList:
    """A file that holds one JSON list. `digest` is its SHA-256, known once it has been read to its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest: str | None = None

    def objects(self) -> Iterator[dict[str, Any]]:
        """Each object of the list, read anew from the file; numbers are int and float.

        Raises:
            TaskFileError: the file cannot be read, is not UTF-8, not JSON, no list, or one of something else than
                objects.
        """
        with opened(self.path) as file:
            source = _Source(file, self.path)
            yield from _objects(source, self.path)
            self.digest = source.digest()


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A task file's bytes. Raises TaskFileError where there is no such file, or it cannot be read."""
    if not path.exists():
        raise TaskFileError(f"There is no file {path}; check its name.")
    if not path.is_file():
        raise TaskFileError(f"{path} is a folder or a device; name a task file.")
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise TaskFileError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error


class _Source:
    """A file's bytes, with what the parser lets pass refused, and without the mark that some editors begin it with."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._sha = hashlib.sha256()
        self._unchecked = b""
        self.place = self._since = 0
        start = self._read(4)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
            raise TaskFileError(f"{path} is not UTF-8, but looks like UTF-16 or UTF-32; save the file as UTF-8.")
        self._start = start.removeprefix(codecs.BOM_UTF8)

    def read(self, size: int = _CHUNK) -> bytes:
        if size == 0:  # the parser asks for nothing, to see whether it gets bytes
            return b""
        if self._since > LONGEST:
            raise TaskFileError(
                f"{self._path}, item {self.place + 1}, is larger than {LONGEST // 2**20} MiB; leave out what is not "
                "needed of it."
            )
        chunk, self._start = self._start + self._read(size), b""
        self._since += len(chunk)
        self._refuse_lone_surrogates(chunk)
        return chunk

    def ended(self, place: int) -> None:
        """The item of this place, from 1, has been read."""
        self.place, self._since = place, 0

    def digest(self) -> str:
        return self._sha.hexdigest()

    def _read(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self._sha.update(chunk)
        return chunk

    def _refuse_lone_surrogates(self, chunk: bytes) -> None:
        """The parser would read half a character as a question mark."""
        text = self._unchecked + chunk
        end = 0
        for escape in _ESCAPE.finditer(text):
            if escape["lone"] and chunk and _BEGUN.fullmatch(text, escape.end()):
                break  # its other half may come with the next chunk
            if escape["lone"]:
                raise TaskFileError(
                    f"{self._path} holds half a character ({escape['lone'].decode()}, a lone surrogate), which is no "
                    "text; write the file again."
                )
            end = escape.end()
        begun = text.find(b"\\", end)
        self._unchecked = text[begun:][-_LONGEST:] if begun >= 0 else b""


def _objects(source: _Source, path: Path) -> Iterator[dict[str, Any]]:
    ijson = optional("ijson", "eval", "Reading a task file")
    place, depth, field, builder = 0, 0, "", None
    try:
        for event, value in ijson.basic_parse(source, use_float=True, buf_size=_CHUNK):
            opens = event in ("start_map", "start_array")
            if depth == 0 and event != "start_array":
                raise TaskFileError(f"{path} is not a JSON list of items; put the items in one list: [{{…}}, {{…}}].")
            if depth == 1 and event != "end_array":
                place += 1
                field = ""
                if event != "start_map":
                    raise TaskFileError(f"{path}, item {place}, is not an object with fields; write it as {{…}}.")
                builder = ijson.ObjectBuilder()
            if depth == 2 and event == "map_key":
                field = value
            depth += opens - (event in ("end_map", "end_array"))
            if depth > DEEPEST:
                raise TaskFileError(f"{_where(path, place, field)} is nested too deeply for a task file; remove that.")
            if builder is not None:
                builder.event(event, value)
                if depth == 1:
                    source.ended(place)
                    yield builder.value
                    builder = None
    except ijson.JSONError as error:
        if place == 0 and depth == 0 and "premature EOF" in str(error):
            raise TaskFileError(f"{path} is empty; name a task file.") from error
        raise TaskFileError(f"{_near(path, place, depth, field)} {_reason(str(error))}") from error
    except UnicodeDecodeError as error:
        raise TaskFileError(f"{_near(path, place, depth, field)} is not UTF-8; save the file as UTF-8.") from error


def _where(path: Path, place: int, field: str) -> str:
    return f"{path}, item {place}" + (f", field {field[:80]!r}," if field else "")


def _near(path: Path, place: int, depth: int, field: str) -> str:
    """What was being read when the parser stopped."""
    if depth >= 2:
        return _where(path, place, field)
    return f"{path}, after item {place}," if place else f"{path}"


def _reason(message: str) -> str:
    if "UTF8" in message:
        return "is not UTF-8; save the file as UTF-8."
    if "overflow" in message:
        return "holds a number that is too large; correct it."
    if "trailing garbage" in message:
        return "goes on where its list has ended; leave one JSON list in the file."
    first_line = message.strip().removeprefix("b'").splitlines()[0].split("\\n")[0]
    return f"is not valid JSON ({first_line}); NaN and Infinity are not JSON either; correct it."
