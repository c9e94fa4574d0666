"""Reading a TOML file that people write: a pool or a contract. A mistake is one sentence with the file and the line."""

from __future__ import annotations

import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modular_pluralism.errors import ConfigurationError
from modular_pluralism.table import one_line


@dataclass(frozen=True)
class TomlKind:
    """One kind of TOML file: the `error` that is raised of it, what its `name` is in messages, and what to do where
    there is no such file."""

    error: type[ConfigurationError]
    name: str
    where_missing: str


def read_toml(path: Path, kind: TomlKind) -> str:
    """The text of the file. Raises the kind's error where it cannot be read, is too large or not UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
        _check_size(data, str(path), kind)
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise kind.error(f"{path} does not exist; {kind.where_missing}") from error
    except UnicodeDecodeError as error:
        raise kind.error(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise kind.error(f"{path} cannot be read ({reason}); check that it is a file that you may read") from error


def parse_toml(text: str, source: str, kind: TomlKind) -> dict[str, Any]:
    """What TOML makes of the text, which messages call `source`. Raises the kind's error where it is none, or is larger
    or deeper than such a file can be."""
    _check_size(text, source, kind)
    too_deep = kind.error(f"{source}: the TOML is nested too deeply; a {kind.name} needs tables of plain values only")
    if _LONG_KEY.search(text):
        raise too_deep
    try:
        data = tomllib.loads(text)
        if _levels(data) > _DEEPEST:
            raise too_deep
        return data
    except RecursionError:
        raise too_deep from None
    except ValueError as error:  # besides TOMLDecodeError, what Python says of a number with thousands of digits
        raise kind.error(_toml_sentence(str(error), text, source)) from error


_TOML_ERROR = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)", re.DOTALL)


_MOST = 2**20
"""Bytes of such a file. What the parsers make of one takes a hundred times as much memory."""
_DEEPEST = 32
"""Levels of tables and lists; `template_kwargs`, a JSON schema and what goes to an endpoint have a few."""
_PART = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_LONG_KEY = re.compile(rf"(?:^|[\[{{,])[ \t]*{_PART}(?:[ \t]*\.[ \t]*{_PART}){{{_DEEPEST},}}", re.MULTILINE)
"""A dotted key of so many parts: over one of thousands the parsers take minutes."""


def _check_size(text: str | bytes, source: str, kind: TomlKind) -> None:
    if len(text) > _MOST:
        raise kind.error(
            f"{source} is larger than {_MOST // 2**20} MiB, which no {kind.name} file is; name another one"
        )


def _levels(value: object) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_levels, inside), default=0)


def _toml_sentence(message: str, text: str, source: str) -> str:
    match = _TOML_ERROR.fullmatch(message)
    if match is None and (long := re.search(rf"\d(?:_?\d){{{sys.get_int_max_str_digits() or len(text)}}}", text)):
        row = text.count("\n", 0, long.start()) + 1
        return f"{source}, line {row}: the number has more digits than can be read; write a smaller one"
    if match is None:
        return f"{source}: the TOML holds a value that cannot be read ({one_line(message)}); correct it"
    line = match["line"] or text.count("\n") + 1
    place, what = f"{source}, line {line}", match["what"]
    if declared := re.fullmatch(r"Cannot declare \((.*)\) twice", what, re.DOTALL):
        table = ".".join(part.strip(" '\"") for part in declared[1].split(",") if part.strip())
        return f"{place}: the table [{one_line(table)}] appears twice; rename or remove one of them"
    if what == "Cannot overwrite a value" or what.startswith("Duplicate inline table key"):
        return f"{place}: this key was already set in the same table; remove one of the two"
    return f"{place}: this is not TOML ({one_line(what[:1].lower() + what[1:])}); correct the line"
