"""Rating pairs of answers in a terminal, one key for each, without a word on which prompts an answer is from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from rich.columns import Columns
from rich.console import Console
from rich.panel import Panel

from modular_pluralism.cli.output import safe
from modular_pluralism.prompt_trials.result_models import CUT_OFF

if TYPE_CHECKING:
    from modular_pluralism.prompt_trials.ratings import Choice, Pair, Ratings

_KEYS: dict[str, Choice] = {"1": "first", "2": "second", "=": "neither", "s": "skip"}
_HELP = "1 the first is better, 2 the second is, = neither, s skip, q stop: "
_WIDE = 100
"""From this width on, the two answers stand side by side."""


def rate(ratings: Ratings) -> None:
    """Show the pairs that nobody has rated on standard error, and keep each rating as it is given, until there is no
    other pair or somebody stops."""
    console = Console(file=sys.stderr, highlight=False)
    of, waiting = len(ratings.pairs()), ratings.waiting()
    if not waiting:
        console.print(ratings.nothing_waits())
    with _keys() as key_typed:
        for number, pair in enumerate(waiting, start=of - len(waiting) + 1):
            _show(console, pair, f"Pair {number} of {of}")
            choice = _choice(console, key_typed)
            if choice is None:
                console.print("Stopped; the same command goes on from here.")
                return
            ratings.rate(pair, choice)


def _show(console: Console, pair: Pair, title: str) -> None:
    told = f" ({pair.first.attribute})" if pair.first.attribute else ""
    console.print()
    console.rule(safe(title), align="left")
    console.print(safe(f"{pair.first.question}{told}", "bold"))
    wide = console.width >= _WIDE
    panels = [
        Panel(
            safe(answer.shown),
            title=name,
            title_align="left",
            subtitle=CUT_OFF if answer.cut_off else None,
            width=console.width // 2 - 1 if wide else None,
        )
        for name, answer in (("1", pair.first), ("2", pair.second))
    ]
    if wide:
        console.print(Columns(panels, padding=(0, 1)))
    else:
        for panel in panels:
            console.print(panel)


def _choice(console: Console, key_typed: Callable[[], str]) -> Choice | None:
    """What the next key says that says anything; None for q, and where there is no more input."""
    while True:
        console.print(_HELP, end="")
        key = key_typed()
        console.print(safe(key if key.isprintable() else ""))
        if key in ("q", ""):
            return None
        if key in _KEYS:
            return _KEYS[key]


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """What gives one key after the other, empty where there is no other: of a terminal as they are typed, of whatever
    else standard input is the first character of each line."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield _of_next_line
        return
    try:
        import termios
        import tty
    except ImportError:  # Windows has none
        yield typer.getchar
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSADRAIN)  # what was typed while a pair was drawn counts, and Ctrl-C stops
    try:
        yield lambda: os.read(terminal, 1).decode("ascii", "replace").replace("\x04", "")
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _of_next_line() -> str:
    line = sys.stdin.readline() if sys.stdin is not None else ""
    return line.strip()[:1] or ("\n" if line else "")
