"""The results in the order and the words in which the report's template shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modular_pluralism.evaluation.report.charts import Chart, Series
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
class TableView:
    """A table with its rows by group (None: of all), the column that is charted and its chart, and those of its columns
    that no table before it explained."""

    key: str
    table: Table
    explained: list[Column]
    groups: dict[str | None, list[RowView]]
    charted: Column | None
    chart: Chart | None


@dataclass(frozen=True)
class ReliabilityView:
    """A method's reliability curve, in words and as points, and these as predicted share, real share with interval,
    and n."""

    method: str
    alt: str
    points: list[ReliabilityPoint]
    texts: list[tuple[str, FigureText]]


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
    write = number_format(_SHARE, [Figure(value=0, n=0)])
    views = []
    for method, points in results.reliability.items():
        texts = [(write(point.predicted), figure_text(point.real, write)) for point in points]
        said = ", ".join(f"{real.value} where {predicted} was predicted" for predicted, real in texts)
        alt = f"Real share against predicted share, {method}: {said}."
        views.append(ReliabilityView(method, alt, points, texts))
    return views


def examples_view(results: Results) -> dict[tuple[str, str], list[Example]]:
    """The examples by method and rank, the best first, in the order in which the results have them."""
    methods = dict.fromkeys(example.method for example in results.examples)
    view: dict[tuple[str, str], list[Example]] = {(name, rank): [] for name in methods for rank in ("best", "worst")}
    for example in results.examples:
        view[example.method, example.rank].append(example)
    return {key: examples for key, examples in view.items() if examples}


def _table_view(key: str, table: Table, new: list[Column]) -> TableView:
    by_group: dict[str | None, list[RowView]] = {}
    for row, cells in zip(table.rows, table_texts(table), strict=True):
        by_group.setdefault(row.group, []).append(RowView(row.name, row.baseline, cells, one_n(cells)))
    names = list(by_group)
    if len(table.rows) > MANY_ROWS:  # in alphabetical order, so that a name is found; the rows of all come first
        names.sort(key=lambda name: (name is not None, (name or "").casefold()))
    charted = next((column for column in table.columns if column.key == table.chart), None)
    return TableView(
        key=key,
        table=table,
        explained=new,
        groups={name: sorted(by_group[name], key=lambda row: row.baseline) for name in names},
        charted=charted,
        chart=None if charted is None or not table.rows else _chart(table, charted, grouped=names != [None]),
    )


def _chart(table: Table, column: Column, *, grouped: bool) -> Chart:
    if not grouped:
        return _bars(table, column)
    names = list(dict.fromkeys((row.name, row.baseline) for row in table.rows))
    names.sort(key=lambda each: each[1])
    groups = list(dict.fromkeys(row.group for row in table.rows))
    if len(table.rows) > MANY_ROWS:
        groups = _by_value(table.rows, column, names[0][0])
    cells = {(row.name, row.group): row.cells.get(column.key) for row in table.rows}
    return Chart(
        alt=f"{table.title}: {column.title} of {len(groups)} groups under {', '.join(name for name, _ in names)}; "
        "all numbers are in the table.",
        title=column.title,
        share=column.share,
        names=["all" if group is None else group for group in groups],
        series=[Series(name, [cells.get((name, group)) for group in groups], baseline) for name, baseline in names],
        bars=False,
    )


def _bars(table: Table, column: Column) -> Chart:
    figures = [(row, row.cells[column.key]) for row in table.rows if column.key in row.cells]
    write = number_format(column, [figure for _, figure in figures])
    texts = [figure_text(figure, write) for _, figure in figures]
    said = ", ".join(
        f"{row.name} {'no value' if text.value == NONE else f'{text.value} {text.interval}'.strip()}"
        for (row, _), text in zip(figures, texts, strict=True)
    )
    return Chart(
        alt=f"{table.title}, {column.title}: {said}.",
        title=column.title,
        share=column.share,
        names=[row.name for row, _ in figures],
        series=[Series(row.name, [figure], row.baseline) for row, figure in figures],
        bars=True,
    )


def _by_value(rows: Sequence[Row], column: Column, method: str) -> list[str | None]:
    """The groups, those in which the method does best first; where neither way is good, the largest first."""
    sign = 1 if column.better == "lower" else -1

    def place(group: str | None) -> tuple[bool, float]:
        figures = [row.cells.get(column.key) for row in rows if row.group == group and row.name == method]
        value = next((figure.value for figure in figures if figure is not None and figure.value is not None), None)
        return (True, 0.0) if value is None else (False, sign * value)

    return sorted(dict.fromkeys(row.group for row in rows), key=place)
