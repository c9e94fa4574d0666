"""The results of an evaluation in a terminal, readable from 80 columns on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from modular_pluralism.cli.output import safe
from modular_pluralism.evaluation.report.figure_text import FigureText, one_n, table_texts

if TYPE_CHECKING:
    from modular_pluralism.evaluation.statistics.results import Column, Results, Row, Table

MANY_ROWS = 12
"""A longer table by group is left to the report."""

_FAILURES = 5
_NAME = 26
"""Characters that a row's name takes at most; a longer one is folded."""
_GAP = 2
_ARROWS = {"higher": "↑ ", "lower": "↓ ", None: ""}
"""Before the words, since a heading is broken where it is too long."""


def print_results(
    results: Results, console: Console | None = None, *, rest: str = "the HTML report and the JSON of the results"
) -> None:
    """Print the warnings, then all tables but the long ones by group, then the first failures.

    A table that is wider than the terminal is printed in parts, one below the other. `rest` says where the reader
    finds what is not printed here.
    """
    console = console or Console(highlight=False)
    console.print(safe(" ".join(results.title.split()), "bold"), soft_wrap=True)
    for warning in results.warnings:
        console.print(Text("! ", style="bold yellow").append_text(safe(warning, "yellow")))
    told: set[tuple[str, str]] = set()
    left = []
    for table in results.tables:
        if _is_long(table):
            left.append(f"{table.title} ({len(table.rows)} rows)")
        elif table.rows:
            _print_table(table, console, told)
    if any(cell.low is not None for table in results.tables for row in table.rows for cell in row.cells.values()):
        console.print()
        console.print(Text("In brackets: 95 % bootstrap intervals. n: items behind a figure.", style="dim"))
    _print_failures(results, console)
    _print_rest(results, left, console, rest)


def _is_long(table: Table) -> bool:
    return len(table.rows) > MANY_ROWS and any(row.group is not None for row in table.rows)


def _print_table(table: Table, console: Console, told: set[tuple[str, str]]) -> None:
    texts = table_texts(table)
    order = sorted(range(len(table.rows)), key=lambda at: _group_order(table, table.rows[at]))
    console.print()
    console.print(safe(table.title, "bold"))
    if table.note:
        console.print(safe(table.note, "dim"))
    for number, part in enumerate(_parts(table, texts, console.width)):
        if number:
            console.print()
        console.print(_grid(table, texts, order, part, console.width))
    _print_help(table.columns, console, told)
    if any(text is not None and text.clear for row in texts for text in row):
        console.print(Text("Bold: the interval excludes zero.", style="dim"))
    if any(row.baseline for row in table.rows):
        console.print(
            Text("Marked ○: a training-free baseline, which calls no model, or a comparison with one.", style="dim")
        )


def _group_order(table: Table, row: Row) -> tuple[int, bool]:
    """Groups stay together in their order, methods before baselines."""
    groups = list(dict.fromkeys(other.group for other in table.rows))
    return groups.index(row.group), row.baseline


def _parts(table: Table, texts: Sequence[Sequence[FigureText | None]], width: int) -> list[list[int]]:
    """The numbers of the columns that stand side by side, part by part; each part has one column at least."""
    room = width - _first_columns_width(table)
    parts: list[list[int]] = [[]]
    used = 0
    for number, column in enumerate(table.columns):
        needed = _column_width(column, [row[number] for row in texts]) + _GAP
        if parts[-1] and used + needed > room:
            parts.append([])
            used = 0
        parts[-1].append(number)
        used += needed
    return parts


def _first_columns_width(table: Table) -> int:
    """Of the groups, the names and n."""
    names = max((safe(_name(row)).cell_len for row in table.rows), default=0)
    groups = max((safe(row.group or "").cell_len for row in table.rows), default=0)
    return min(names, _NAME) + (min(groups, _NAME) + _GAP if groups else 0) + _GAP + 6


def _column_width(column: Column, texts: Sequence[FigureText | None]) -> int:
    words = [safe(word).cell_len for word in _heading(column).split()]
    cells = [len(part) for text in texts if text is not None for part in (text.value, text.interval, f"n={text.n}")]
    return max([*words, *cells], default=0)


def _grid(
    table: Table, texts: Sequence[Sequence[FigureText | None]], order: Sequence[int], part: Sequence[int], width: int
) -> Grid:
    """One part of a table: each value with its interval beneath it."""
    grouped = any(row.group is not None for row in table.rows)
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), header_style="bold", pad_edge=False)
    if grouped:
        grid.add_column("", overflow="fold", max_width=_NAME)
    grid.add_column("", overflow="fold", max_width=_NAME)
    for column in part:
        heading = safe(_heading(table.columns[column]))
        column_width = _column_width(table.columns[column], [row[column] for row in texts])
        grid.add_column(heading, justify="right", min_width=min(column_width, width - _GAP), overflow="fold")
    shown = [at for at in order if any(texts[at][column] is not None for column in part)]
    has_n = any(one_n(texts[at]) is not None for at in shown)
    if has_n:
        grid.add_column("n", justify="right", style="dim")
    before: str | None = None
    for number, at in enumerate(shown):
        row, n = table.rows[at], one_n(texts[at])
        style = "dim" if row.baseline else ""
        first = [safe(row.group if row.group is not None else "all") if number == 0 or row.group != before else ""]
        cells = [_cell(texts[at][column], style, with_n=n is None) for column in part]
        grid.add_row(*(first if grouped else ()), safe(_name(row), style), *cells, *([n or ""] if has_n else []))
        before = row.group
    return grid


def _name(row: Row) -> str:
    return f"○ {row.name}" if row.baseline else row.name


def _heading(column: Column) -> str:
    return _ARROWS[column.better] + column.title


def _cell(text: FigureText | None, style: str, *, with_n: bool) -> Text:
    if text is None:
        return Text("")
    cell = Text(text.value, style="bold" if text.clear else style)
    if text.interval:
        cell.append(f"\n{text.interval}", style="not bold dim")
    if with_n:
        cell.append(f"\nn={text.n}", style="not bold dim")
    return cell


def _print_help(columns: Sequence[Column], console: Console, told: set[tuple[str, str]]) -> None:
    """What the columns mean, each once."""
    for column in columns:
        if column.help and (column.title, column.help) not in told:
            told.add((column.title, column.help))
            console.print(safe(f"{_heading(column)}: {column.help}", "dim"))


def _print_failures(results: Results, console: Console) -> None:
    if not results.failed:
        return
    console.print()
    console.print(Text(f"{results.failed} failed; they count as failures and are never filled in.", style="yellow"))
    for failure in results.failures[:_FAILURES]:
        console.print(safe(f"  {failure.method}, item {failure.id}: {' '.join(failure.error.split())}"))


def _print_rest(results: Results, left: Sequence[str], console: Console, rest: str) -> None:
    further = {
        "reliability": results.reliability,
        "best and worst items": results.examples,
        "further failures": results.failed > _FAILURES,
    }
    if more := [*left, *(name for name, there in further.items() if there)]:
        console.print()
        console.print(safe(f"In {rest}: {', '.join(more)}.", "dim"))
