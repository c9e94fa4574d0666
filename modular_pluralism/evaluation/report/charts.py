"""Charts as numbers and words: where rows, marks and values stand. The template charts.svg.jinja draws them."""

from __future__ import annotations

import math
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from modular_pluralism.evaluation.report.figure_text import is_number
from modular_pluralism.evaluation.report.plain_text import plain_text
from modular_pluralism.evaluation.statistics.results import Figure

WIDTH = 440.0
"""In CSS pixels: a chart is drawn narrow, so that its letters are still read on a phone."""
_RIGHT = WIDTH - 18
_LETTER = 7.2
"""CSS pixels that a letter of the text takes at most, on average."""
_LINE = 22
"""Letters in a line of a row's name, which has two lines; what is longer is cut, and the table has it in full."""
_TALL = 20
"""With more rows than this, the values are written above the chart as well."""
_MOST_STEPS = 4
"""From one value that is written to the next."""


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end`, in CSS pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value stands."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round values."""
        rough = (self.high - self.low) / _MOST_STEPS
        size = 10.0 ** math.floor(math.log10(rough))
        step = next((size * digits for digits in (1, 2, 2.5, 5) if size * digits >= rough), 10 * size)
        return [step * n for n in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


SHARES = Axis(-0.02, 1.02, 76, _RIGHT), Axis(-0.02, 1.02, 0.82 * WIDTH - 44, 10)
"""The axes of a reliability curve, to the right and upwards: predicted and real shares."""


@dataclass(frozen=True)
class Series:
    """A method's figure in each row of a chart, None where it has none. A `baseline` is drawn in grey."""

    name: str
    figures: Sequence[Figure | None]
    baseline: bool

    @property
    def label(self) -> str:
        """The name, no longer than a legend has room for."""
        return short(self.name)


@dataclass(frozen=True)
class Chart:
    """A row for each name, from the top to the bottom, with its values from the left to the right.

    As `bars`, each series has a row for itself with its only figure, drawn from zero. Otherwise a series is a dot in
    every row, or an upright where it is a baseline, and a legend names them. `alt` says in words what the chart shows;
    `title` names the values, which are printed in per cent where they are a `share`. Names may be any text.
    """

    alt: str
    title: str
    share: bool
    names: Sequence[str]
    series: Sequence[Series]
    bars: bool

    @cached_property
    def labels(self) -> list[list[str]]:
        """The names, each in one line or two."""
        return [_lines(name) for name in self.names]

    @cached_property
    def pitch(self) -> float:
        """CSS pixels from one row to the next."""
        names = 38.0 if any(len(label) > 1 for label in self.labels) else 24.0
        dots = 0 if self.bars else sum(not series.baseline for series in self.series)
        return max(names, 8.0 * dots + 8)

    @cached_property
    def columns(self) -> int:
        """Of the legend."""
        return max(1, int(WIDTH / (44 + _LETTER * max(_cells(series.label) for series in self.series))))

    @property
    def is_tall(self) -> bool:
        """Whether the values are written above the rows as well."""
        return len(self.names) > _TALL and not self.bars

    @cached_property
    def top(self) -> float:
        """CSS pixels above the rows: the legend, and the values where it is tall."""
        return 10.0 if self.bars else 18.0 + 20.0 * (math.ceil(len(self.series) / self.columns) + self.is_tall)

    @cached_property
    def axis(self) -> Axis:
        """Of the values, with a margin on both sides."""
        figures = [figure for series in self.series for figure in series.figures if figure is not None]
        ends = [end for figure in figures for end in (figure.value, figure.low, figure.high) if is_number(end)]
        ends += [0.0] if self.bars or not ends else []
        margin = 0.05 * (max(ends) - min(ends)) or 0.5
        left = 18 + _LETTER * max(_cells(line) for label in self.labels for line in label)
        return Axis(min(ends) - margin, max(ends) + margin, left, _RIGHT)

    def written(self, value: float) -> str:
        """A value of the axis."""
        return (f"{100 * value:.6g} %" if self.share else f"{value:.6g}").replace("-", "−")


def short(text: str, longest: int = 30) -> str:
    """On one line, and no longer than there is room for."""
    line = " ".join(plain_text(text).split())
    if _cells(line) <= longest:
        return line
    while _cells(line) >= longest:
        line = line[:-1]
    return line.rstrip() + "…"


def _cells(text: str) -> int:
    """Letters, where East Asian ones count as two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _lines(name: str) -> list[str]:
    """On one line, or on two."""
    line = " ".join(plain_text(name).split())
    if _cells(line) <= _LINE:
        return [line]
    first, *rest = textwrap.wrap(line, _LINE, break_on_hyphens=False) or [""]
    return [short(part, _LINE) for part in (first, " ".join(rest)) if part]
