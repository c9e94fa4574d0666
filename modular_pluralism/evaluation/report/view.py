"""The results in the order and the words in which the report's template shows them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from modular_pluralism.evaluation.report.charts import Bar, Series, bars_svg, groups_svg, reliability_svg
from modular_pluralism.evaluation.report.figure_text import (
    NONE,
    FigureText,
    figure_text,
    number_format,
    one_n,
    table_texts,
)
from modular_pluralism.evaluation.statistics.results import (
    Column,
    Example,
    Figure,
    ReliabilityPoint,
    Results,
    Row,
    Table,
)

MANY_ROWS = 12
"""A longer table is folded."""

_SHARE = Column(key="real", title="real share", share=True)


@dataclass(frozen=True)
class RowView:
    """A row of a table, [n_columns]; `n` is its number of items, None where its figures have different ones."""

    name: str
    baseline: bool
    cells: list[FigureText | None]
    n: str | None


@dataclass(frozen=True)
class GroupView:
    """The rows of one group, whose name is None where the table has no groups."""

    name: str | None
    rows: list[RowView]


@dataclass(frozen=True)
class TableView:
    """A table with its chart (SVG), and those of its columns that no table before it explained."""

    key: str
    title: str
    note: str
    columns: list[Column]
    explained: list[Column]
    groups: list[GroupView]
    chart: str | None
    chart_title: str
    grouped: bool
    has_n: bool
    has_clear: bool
    has_intervals: bool
    n_rows: int


@dataclass(frozen=True)
class ReliabilityView:
    """A method's reliability curve (SVG), and its points as predicted share, real share with interval, and n."""

    method: str
    chart: str
    points: list[tuple[str, FigureText]]


@dataclass(frozen=True)
class ExamplesView:
    """The best or the worst items of a method."""

    method: str
    rank: str
    measure: str
    examples: list[Example]


def tables_view(results: Results) -> list[TableView]:
    """All tables in their order, each column's meaning told where it first stands."""
    told: set[tuple[str, str]] = set()
    views = []
    for number, table in enumerate(results.tables):
        new = [column for column in table.columns if column.help and (column.title, column.help) not in told]
        told.update((column.title, column.help) for column in new)
        views.append(_table_view(f"table-{number}", table, new))
    return views


def reliability_view(results: Results) -> list[ReliabilityView]:
    """The curves, one for each method."""
    return [
        ReliabilityView(
            method,
            reliability_svg(f"reliability-{number}", _alt_reliability(method, points), points, number),
            _points(points),
        )
        for number, (method, points) in enumerate(results.reliability.items())
    ]


def examples_view(results: Results) -> list[ExamplesView]:
    """The examples by method, the best first, in the order in which the results have them."""
    methods = list(dict.fromkeys(example.method for example in results.examples))
    found = []
    for method in methods:
        for rank in ("best", "worst"):
            chosen = [each for each in results.examples if each.method == method and each.rank == rank]
            if chosen:
                measures = ", ".join(dict.fromkeys(each.measure for each in chosen))
                found.append(ExamplesView(method, rank, measures, chosen))
    return found


def option_letter(place: int) -> str:
    """A to Z, then numbers."""
    return ascii_uppercase[place] if place < len(ascii_uppercase) else str(place + 1)


def style_hash(style: str) -> str:
    """What the page's content policy names its style sheet by."""
    from base64 import b64encode

    return "sha256-" + b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _table_view(key: str, table: Table, new: list[Column]) -> TableView:
    rows = [
        RowView(row.name, row.baseline, cells, one_n(cells))
        for row, cells in zip(table.rows, table_texts(table), strict=True)
    ]
    by_group: dict[str | None, list[RowView]] = {}
    for row, view in zip(table.rows, rows, strict=True):
        by_group.setdefault(row.group, []).append(view)
    grouped = set(by_group) - {None} != set()
    charted = next((column for column in table.columns if column.key == table.chart), None)
    return TableView(
        key=key,
        title=table.title,
        note=table.note,
        columns=table.columns,
        explained=new,
        groups=[
            GroupView(name, sorted(by_group[name], key=lambda row: row.baseline))
            for name in _in_order(by_group, fold=len(rows) > MANY_ROWS)
        ],
        chart=None if charted is None or not rows else _chart(key, table, charted, grouped),
        chart_title="" if charted is None else charted.title,
        grouped=grouped,
        has_n=any(row.n is not None for row in rows),
        has_clear=any(cell is not None and cell.clear for row in rows for cell in row.cells),
        has_intervals=any(cell is not None and cell.interval for row in rows for cell in row.cells),
        n_rows=len(rows),
    )


def _in_order(groups: Iterable[str | None], *, fold: bool) -> list[str | None]:
    """Alphabetically where there are many, so that a name is found; otherwise as given. The row of all comes first."""
    names = list(groups)
    if fold:
        names.sort(key=lambda name: (name is not None, (name or "").casefold()))
    return names


def _chart(key: str, table: Table, column: Column, grouped: bool) -> str:
    if not grouped:
        write = number_format(column, [row.cells[column.key] for row in table.rows if column.key in row.cells])
        bars = [Bar(row.name, row.cells[column.key], row.baseline) for row in table.rows if column.key in row.cells]
        return bars_svg(key, _alt_bars(table, column, bars, write), bars, column.title, column.share)
    names = list(dict.fromkeys((row.name, row.baseline) for row in table.rows))
    names.sort(key=lambda each: each[1])
    groups = list(dict.fromkeys(row.group for row in table.rows))
    if len(table.rows) > MANY_ROWS:
        groups = _by_value(table.rows, column, names[0][0])
    cells = {(row.name, row.group): row.cells.get(column.key) for row in table.rows}
    series = [Series(name, [cells.get((name, group)) for group in groups], baseline) for name, baseline in names]
    titles = ["all" if group is None else group for group in groups]
    alt = (
        f"{table.title}: {column.title} of {len(groups)} groups under {', '.join(each.name for each in series)}; "
        "all numbers are in the table."
    )
    return groups_svg(key, alt, titles, series, column.title, column.share)


def _by_value(rows: Sequence[Row], column: Column, method: str) -> list[str | None]:
    """The groups, those in which the method does best first; where neither way is good, the largest first."""
    sign = 1 if column.better == "lower" else -1

    def place(group: str | None) -> tuple[bool, float]:
        figures = [row.cells.get(column.key) for row in rows if row.group == group and row.name == method]
        value = next((figure.value for figure in figures if figure is not None and figure.value is not None), None)
        return (True, 0.0) if value is None else (False, sign * value)

    return sorted(dict.fromkeys(row.group for row in rows), key=place)


def _alt_bars(table: Table, column: Column, bars: Sequence[Bar], write: Callable[[float], str]) -> str:
    said = []
    for bar in bars:
        text = figure_text(bar.figure, write)
        said.append(f"{bar.name} {'no value' if text.value == NONE else f'{text.value} {text.interval}'.strip()}")
    return f"{table.title}, {column.title}: {', '.join(said)}."


def _alt_reliability(method: str, points: Sequence[ReliabilityPoint]) -> str:
    said = [f"{text.value} where {predicted} was predicted" for predicted, text in _points(points)]
    return f"Real share against predicted share, {method}: {', '.join(said)}."


def _points(points: Sequence[ReliabilityPoint]) -> list[tuple[str, FigureText]]:
    write = number_format(_SHARE, [Figure(value=0, n=0)])
    return [(write(point.predicted), figure_text(point.real, write)) for point in points]
