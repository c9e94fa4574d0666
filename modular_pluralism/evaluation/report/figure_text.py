"""Figures as text: all of a column with the same number of decimals, so that they can be compared at a glance."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from modular_pluralism.evaluation.statistics.results import Column, Figure, Table

NONE = "–"
"""Stands where there is no value; it is never a zero."""

_DECIMALS = ((100.0, 0), (10.0, 1), (0.03, 3), (0.001, 4))
"""From this size on, a column's largest number gets so many decimals; smaller ones get six."""


@dataclass(frozen=True)
class FigureText:
    """A figure's parts; `interval` is empty where there is none."""

    value: str
    interval: str
    n: str
    clear: bool


def number_format(column: Column, figures: Iterable[Figure]) -> Callable[[float], str]:
    """How the numbers of a column are written: in per cent for shares, and with a sign where some are negative."""
    scale, unit = (100.0, " %") if column.share else (1.0, "")
    ends = [end * scale for each in figures for end in (each.value, each.low, each.high) if is_number(end)]
    largest = max(map(abs, ends), default=0.0)
    whole = all(end == int(end) for end in ends) and not column.share
    decimals = 0 if whole else 1 if column.share else _decimals(largest)
    plus = "+" if any(end < 0 for end in ends) else ""

    def text(number: float) -> str:
        return f"{number * scale:{plus},.{decimals}f}".replace("-", "−") + unit

    return text


def figure_text(figure: Figure, write: Callable[[float], str]) -> FigureText:
    """The figure in the format of its column."""
    if not is_number(figure.value):
        return FigureText(NONE, "", f"{figure.n:,}", False)
    interval = ""
    if is_number(figure.low) and is_number(figure.high):
        interval = f"[{write(figure.low)}, {write(figure.high)}]".replace(" %", "")
    return FigureText(write(figure.value), interval, f"{figure.n:,}", figure.clear)


def table_texts(table: Table) -> list[list[FigureText | None]]:
    """All figures of a table, [n_rows][n_columns]; None where a row has no such figure."""
    formats = [
        number_format(column, [row.cells[column.key] for row in table.rows if column.key in row.cells])
        for column in table.columns
    ]
    return [
        [
            figure_text(row.cells[column.key], write) if column.key in row.cells else None
            for column, write in zip(table.columns, formats, strict=True)
        ]
        for row in table.rows
    ]


def one_n(texts: Sequence[FigureText | None]) -> str | None:
    """The number of items of a row, where all of its figures have the same one."""
    counts = {text.n for text in texts if text is not None}
    return counts.pop() if len(counts) == 1 else None


def is_number(value: float | None) -> TypeGuard[float]:
    """Whether there is a value, and it can be drawn or written."""
    return value is not None and math.isfinite(value)


def _decimals(largest: float) -> int:
    return next((decimals for size, decimals in _DECIMALS if largest >= size), 6)
