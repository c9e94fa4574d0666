"""What commands print: text of models and users, which is shown as it is and never obeyed, tables, and JSON."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text


def safe(text: str, style: str = "") -> Text:
    """The text without control characters (such as the one that starts terminal commands) and without markup."""
    kept = (char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs"))
    return Text("".join(kept), style=style)


def say(text: str = "", style: str = "", *, prose: bool = False) -> None:
    """Print a text. Prose is broken between words where it is too long for a line, all else by the terminal alone."""
    Console(highlight=False).print(safe(text, style), soft_wrap=not prose)


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = (), title: str = ""
) -> None:
    """Print a table; the columns whose headings are in `right` stand at their right edge."""
    table = Table(title=safe(title) if title else None, title_justify="left")
    for heading in headings:
        table.add_column(safe(heading), justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(safe, row))
    Console(highlight=False).print(table)


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object, for programs: a list has a name in it, so that more can stand beside it some day."""
    typer.echo(json.dumps(values, ensure_ascii=False, indent=2))


@contextmanager
def stoppable(told: str = "Stopped.") -> Iterator[None]:
    """Ctrl-C in this block ends the command with exit code 130 and this sentence."""
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo(told, err=True)
        raise typer.Exit(130) from None
