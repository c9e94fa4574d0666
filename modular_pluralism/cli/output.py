"""What commands print: text of models and users, which is shown as it is and never obeyed, tables, and JSON."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.text import Text

_JOINERS = "\u200c\u200d"
"""Some scripts and many emoji need them; they do nothing but between two letters or signs."""


def safe(text: str, style: str = "") -> Text:
    """The text without control characters (such as the one that starts terminal commands) and without markup."""
    from rich.text import Text  # whose import takes longer than many commands

    return Text(shown(text), style=style)


def shown(text: str) -> str:
    """The text without control characters."""
    return "".join(char for at, char in enumerate(text) if _is_shown(text, at, char))


def _is_shown(text: str, at: int, char: str) -> bool:
    if char in _JOINERS:
        around = text[at - 1 : at] + text[at + 1 : at + 2] if at else ""
        return len(around) == 2 and all(unicodedata.category(each)[0] in "LMS" for each in around)
    return char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs")


def show_whatever_comes() -> None:
    """Let no character end a command that an output's encoding cannot show: it is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Send standard output nowhere: what it still holds cannot be written, and would be tried again at the end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def is_full(error: OSError) -> bool:
    """Whether standard output cannot be written, as on a full disk, although somebody wants it."""
    return error.filename is None and not isinstance(error, BrokenPipeError)


def tell_instead(error: OSError) -> None:
    """Say that what comes now would have gone to standard output."""
    drop_output()
    tell(f"Error: The output cannot be written ({error.strerror}); it stands here instead.", err=True)


def tell(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print a text as it is; on a terminal, without what a terminal would obey."""
    stream = sys.stderr if err else sys.stdout
    told = shown(text) if stream is not None and stream.isatty() else text
    typer.echo(encodable(told, stream), err=err, nl=nl, color=True)


def encodable(text: str, stream: TextIO | None) -> str:
    """With escapes for what the stream cannot show: Typer would take one in ASCII for UTF-8."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


class SafeFormatter(logging.Formatter):
    """What is logged may quote models, endpoints and files: a terminal obeys none of it."""

    def format(self, record: logging.LogRecord) -> str:
        """As always, without what a terminal would obey."""
        return shown(super().format(record))


def tell_of_tracing() -> None:
    """Say so where what is asked and answered leaves this machine because LangSmith's variables are set."""
    from langsmith.utils import tracing_is_enabled

    if tracing_is_enabled() is True:
        tell("LangSmith is sent every prompt and every reply, as LANGSMITH_TRACING says; unset it to keep them here.")


def counted(count: int, what: str) -> str:
    """So many of them, as people write it: "1 answer", "1,000 answers"."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def print_paid(text: str) -> None:
    """Print what has cost something: on standard error, with exit code 1, where standard output cannot be written."""
    try:
        tell(text)
    except OSError as error:
        if not is_full(error):
            raise
        tell_instead(error)
        tell(text, err=True)
        raise typer.Exit(1) from error


def json_text(values: Mapping[str, Any]) -> str:
    """One JSON object in letters that standard output has; what a terminal would obey stands there as `\\u009b`."""
    encoding = str(getattr(sys.stdout, "encoding", None) or "utf-8")
    text = json.dumps(values, ensure_ascii=not encoding.lower().startswith("utf"), indent=2)
    return "".join(char if _is_shown(text, at, char) else json.dumps(char)[1:-1] for at, char in enumerate(text))


def print_results_json(results: BaseModel) -> None:
    """Print results as one JSON object, as `print_paid` does."""
    print_paid(json_text(json.loads(results.model_dump_json())))


def say(text: str = "", style: str = "", *, prose: bool = False) -> None:
    """Print a text. Prose is broken between words where it is too long for a line, all else by the terminal alone."""
    from rich.console import Console

    Console(highlight=False).print(safe(text, style), soft_wrap=not prose)


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = (), title: str = ""
) -> None:
    """Print a table; the columns whose headings are in `right` stand at their right edge."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=safe(title) if title else None, title_justify="left")
    for heading in headings:
        table.add_column(safe(heading), justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(safe, row))
    Console(highlight=False).print(table)


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object, for programs: a list has a name in it, so that more can stand beside it some day."""
    print_paid(json_text(values))


@contextmanager
def stoppable(told: str = "Stopped.") -> Iterator[None]:
    """Ctrl-C in this block ends the command with exit code 130 and this sentence."""
    import asyncio  # which help does not need

    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):
        tell(told, err=True)
        raise typer.Exit(130) from None
