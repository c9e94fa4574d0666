"""Help as it is shown: in panels, with colours on a terminal. Rich draws the same, but its import takes longer than all
else that `--help` does."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import typer

_LEAST_WIDTH = 40
_NAMES_SHARE = 0.45
"""The most of a panel's width that the names take; a longer one stands on a line of its own."""
_MARKED = re.compile(r"\*\*(?P<bold>[^*]+)\*\*|`(?P<code>[^`]+)`")
_STYLES: dict[str, dict[str, Any]] = {
    "": {},
    "bold": {"bold": True},
    "code": {"fg": "cyan"},
    "name": {"fg": "cyan", "bold": True},
    "dim": {"dim": True},
}
_FRAME, _FRAME_IN_ASCII = "╭─╮│╰╯", "+-+|++"


class Row(NamedTuple):
    """A line of a panel: what is typed, what it means, and what else is to be known, such as the default."""

    name: str
    help: str
    extra: str = ""


def help_text(command: Any, context: Any, commands: Sequence[Row] = ()) -> str:
    """The help of a Typer command; `commands` are those of a group. It may contain a terminal's codes for colours."""
    width = max(shutil.get_terminal_size().columns, _LEAST_WIDTH)
    usage = textwrap.indent(_styled(command.get_usage(context), "bold"), " ")
    panels = [_panel(title, rows, width) for title, rows in _parameters(command, context).items()]
    if commands:
        panels.append(_panel("Commands", commands, width))
    blocks = [usage, *_paragraphs(command.help, width), "\n".join(panels), *_paragraphs(command.epilog, width)]
    return _as_output("\n" + "\n\n".join(blocks) + "\n")


def first_paragraph(text: str | None) -> str:
    """What a group says of one of its commands."""
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())


def _paragraphs(text: str | None, width: int) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text or "").split("\n\n"):
        if paragraph:
            yield "\n".join(f" {line.rstrip()}" for line in _wrapped(paragraph, "", width - 2))


def _parameters(command: Any, context: Any) -> dict[str, list[Row]]:
    """A command's parameters by the title of their panel: arguments first, then options, then a command's own."""
    panels: dict[str, list[Row]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:  # as of a hidden option
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panels.setdefault(parameter.rich_help_panel or usual, []).append(_row(*record))
    return {title: rows for title, rows in panels.items() if rows}


def _row(name: str, text: str) -> Row:
    said, gap, extra = text.rpartition("  [")
    return Row(name, said, f"[{extra}") if gap else Row(name, text)


def _panel(title: str, rows: Sequence[Row], width: int) -> str:
    left, across, right, side, left_foot, right_foot = tuple(_frame())
    inner = width - 4
    most = int(inner * _NAMES_SHARE)
    column = max((len(row.name) for row in rows if len(row.name) <= most), default=0)
    head = _styled(f"{left}{across} {title} ".ljust(width - 1, across) + right, "dim")
    foot = _styled(left_foot + across * (width - 2) + right_foot, "dim")
    edge = _styled(side, "dim")
    lines = (f"{edge} {line} {edge}" for row in rows for line in _lines(row, column, inner))
    return "\n".join([head, *lines, foot])


def _frame() -> str:
    """Its characters, as standard output can show them."""
    return _FRAME if _as_output(_FRAME) == _FRAME else _FRAME_IN_ASCII


def _as_output(text: str) -> str:
    """With escapes for what standard output cannot show: Typer would take one in ASCII for UTF-8."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _lines(row: Row, column: int, width: int) -> Iterator[str]:
    """A row's lines, each as wide as `width`; what it means begins behind `column`."""
    texts = _wrapped(row.help, row.extra, width - column - 2)
    if len(row.name) <= column:
        first, *texts = texts or [" " * (width - column - 2)]
        yield f"{_styled(row.name.ljust(column), 'name')}  {first}"
    else:
        for line in textwrap.wrap(row.name, width):
            yield _styled(line.ljust(width), "name")
    for line in texts:
        yield f"{' ' * column}  {line}"


def _wrapped(text: str, extra: str, width: int) -> list[str]:
    """Lines that are filled up to `width`: the text, of which `code` and **bold** are shown so, and the dim extra."""
    spans = [*_spans(text), (f" {extra}", "dim")]
    styles = iter([style for words, style in spans for char in words if not char.isspace()])
    plain = "".join(words for words, _ in spans)
    return [
        "".join(_styled(words, style) for words, style in _with_styles(line, styles)) + " " * (width - len(line))
        for line in textwrap.wrap(plain, width, break_on_hyphens=False)
    ]


def _with_styles(line: str, styles: Iterator[str]) -> Iterator[tuple[str, str]]:
    """A line cut where the style changes. Breaking a text into lines moves its spaces only, so that the style of each
    of its other characters is the next one of `styles`."""
    each = [(char, "" if char.isspace() else next(styles)) for char in line]
    for style, run in groupby(each, key=lambda one: one[1]):
        yield "".join(char for char, _ in run), style


def _spans(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    for found in _MARKED.finditer(text):
        yield text[at : found.start()], ""
        yield found[found.lastgroup or 0], found.lastgroup or ""
        at = found.end()
    yield text[at:], ""


def _styled(text: str, style: str) -> str:
    """With the codes of a terminal, unless nobody wants colours; Typer takes them out where there is no terminal."""
    plain = not style or "NO_COLOR" in os.environ or os.environ.get("TERM") in ("dumb", "unknown")
    return text if plain else typer.style(text, **_STYLES[style])
