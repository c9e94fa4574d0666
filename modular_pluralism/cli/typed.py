"""What is typed on the command line, as text and as paths, before anything is made of it."""

from __future__ import annotations

import codecs
import os
import sys
from pathlib import Path

import typer

from modular_pluralism.home import expanded

_AS_ASCII = codecs.lookup(sys.getfilesystemencoding()).name == "ascii"
"""In the C locale, if Python is forbidden to take it for UTF-8, bytes above 127 are half characters to it."""


def typed_words() -> list[str] | None:
    """The words after the command's name, where Python has not read them as the UTF-8 that they are; else None."""
    return list(map(_read_as_utf8, sys.argv[1:])) if _AS_ASCII else None


def _read_as_utf8(word: str) -> str:
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeDecodeError:
        return word


def typed_path(text: str | Path) -> Path:
    """The path that is meant: most shells leave the ~ in `--out=~/results` to the command."""
    return expanded(_as_file_name(str(text)))


def _as_file_name(text: str) -> str:
    """Names of files are as Python has read them."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape")) if _AS_ASCII else text


def typed_file(text: str) -> Path:
    """As `typed_path`, of a file that has to be there."""
    path = typed_path(text)
    if not path.is_file():
        raise typer.BadParameter(f"File {str(path)!r} does not exist.")
    return path


def typed_name_or_path(text: str) -> str:
    """As `typed_path`, where it may be a name instead."""
    if text.startswith("~"):
        return str(typed_path(text))
    return text if "://" in text else _as_file_name(text)
