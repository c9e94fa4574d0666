"""Charts as SVG text to put into a page: bars with intervals, one dot a group, and reliability curves.

Colours are variables of the page's style sheet (--ink, --muted, --rule, --series-0 …), so that one drawing serves light
and dark pages. The same data gives the same text, byte for byte.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from modular_pluralism.evaluation.report.plain_text import plain_text
from modular_pluralism.evaluation.statistics.results import Figure, ReliabilityPoint
from modular_pluralism.optional import optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

SERIES = 6
"""So many colours and marks there are; further series begin again."""

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_WIDTH = 440.0
"""In CSS pixels: a chart is drawn narrow, so that its letters are still read on a phone."""
_TEXT = 13.0
_LETTER = 7.2
"""CSS pixels that a letter of the text takes at most, on average."""
_LINE = 22
"""Letters in a line of a row's name, which has two lines; what is longer is cut, and the table has it in full."""
_MARKS = ("o", "s", "D", "^", "v", "P")

# Colours that stand for the page's variables: matplotlib knows no others. No two are the same.
_INK, _MUTED, _RULE, _PAPER = "#010203", "#010204", "#010205", "#010206"
_SERIES = tuple(f"#0102{0x10 + number:02x}" for number in range(SERIES))
_VARIABLES = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _RULE: "var(--rule)",
    _PAPER: "var(--paper)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(_SERIES)},
}


@dataclass(frozen=True)
class Bar:
    """A name and its figure; a `baseline` is drawn in grey."""

    name: str
    figure: Figure
    baseline: bool


@dataclass(frozen=True)
class Series:
    """A method's figure in each group, [n_groups]; None where it has none. A `baseline` is drawn as a thin upright."""

    name: str
    figures: Sequence[Figure | None]
    baseline: bool


def bars_svg(key: str, alt: str, bars: Sequence[Bar], axis: str, share: bool) -> str:
    """One bar for each name, from zero, with its interval as a line.

    `key` tells the chart from the page's others; `alt` says in words what it shows; `axis` names the values, which are
    printed in per cent where they are a `share`. Names may be any text.
    """
    left = _room(bar.name for bar in bars)
    with _drawing(_row_height(bar.name for bar in bars) * len(bars) + 56, left) as (drawing, axes):
        for place, bar in enumerate(bars):
            value = _number(bar.figure.value)
            if value is None:
                axes.text(0, place, " no value", va="center", color=_MUTED)
                continue
            colour = _MUTED if bar.baseline else _SERIES[0]
            axes.barh(place, value, height=0.56, color=colour, alpha=0.35, edgecolor=colour, linewidth=0.8)
            _interval(axes, bar.figure, place, _INK, 1.6)
        axes.axvline(0, color=_INK, linewidth=0.9)
        _rows(axes, [bar.name for bar in bars])
        _values(axes, axis, share)
        return _svg(key, alt, drawing)


def groups_svg(key: str, alt: str, groups: Sequence[str], series: Sequence[Series], axis: str, share: bool) -> str:
    """A row for each group with a dot and an interval for each method; baselines are uprights across the row."""
    methods = [each for each in series if not each.baseline]
    pitch = max(_row_height(groups), 8.0 * len(methods) + 8)
    columns = max(1, int(_WIDTH / (44 + _LETTER * max(_cells(_short(each.name)) for each in series))))
    legend = 20.0 * math.ceil(len(series) / columns) + 8
    top = legend + (20.0 if len(groups) > _TALL else 0.0)
    with _drawing(pitch * len(groups) + 56 + top, _room(groups), top) as (drawing, axes):
        for number, each in enumerate(each for each in series if each.baseline):
            _uprights(axes, each, ("-", (0, (1, 1)), (0, (3, 1.5)))[number % 3])
        for number, each in enumerate(methods):  # over the uprights, and before them in the legend
            _dots(axes, each, (number - (len(methods) - 1) / 2) * 8.0 / pitch, number)
        for place in range(1, len(groups)):
            axes.axhline(place - 0.5, color=_RULE, linewidth=0.6)
        _legend(drawing, axes, columns, baselines=len(series) - len(methods))
        _rows(axes, groups)
        _values(axes, axis, share)
        if len(groups) > _TALL:
            axes.tick_params(axis="x", top=True, labeltop=True)
        return _svg(key, alt, drawing)


def reliability_svg(key: str, alt: str, points: Sequence[ReliabilityPoint], number: int) -> str:
    """Mean real share against mean predicted share, with the diagonal on which a calibrated method lies."""
    with _drawing(_WIDTH * 0.82, 76.0) as (drawing, axes):
        axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
        known = [point for point in points if _number(point.real.value) is not None]
        colour = _SERIES[number % SERIES]
        for point in known:
            _upright_interval(axes, point, colour)
        axes.plot(
            [point.predicted for point in known],
            [_number(point.real.value) or 0.0 for point in known],
            color=colour,
            linewidth=1.2,
            marker=_MARKS[number % len(_MARKS)],
            markersize=6,
        )
        for ticks in (axes.set_xticks, axes.set_yticks):
            ticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="predicted share", ylabel="real share")
        axes.grid(color=_RULE, linewidth=0.6)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
        return _svg(key, alt, drawing)


_TALL = 20
"""With more groups than this, the values are written above the chart as well."""


def _uprights(axes: Axes, series: Series, style: str | tuple[int, tuple[float, float]]) -> None:
    """A short upright line in each group's row, named once."""
    for place, figure in enumerate(series.figures):
        value = None if figure is None else _number(figure.value)
        if value is not None:
            axes.plot([value] * 2, [place - 0.42, place + 0.42], color=_MUTED, linewidth=1.5, linestyle=style)
    axes.plot([], [], color=_MUTED, linewidth=1.5, linestyle=style, label=_short(series.name))


def _dots(axes: Axes, series: Series, shift: float, number: int) -> None:
    """A dot with its interval in each group's row, `shift` rows below the middle."""
    colour, mark = _SERIES[number % SERIES], _MARKS[number % len(_MARKS)]
    for place, figure in enumerate(series.figures):
        value = None if figure is None else _number(figure.value)
        if figure is not None and value is not None:
            _interval(axes, figure, place + shift, colour, 1.2)
            axes.plot([value], [place + shift], mark, color=colour, markersize=4.4, markeredgewidth=0)
    axes.plot([], [], mark, color=colour, markersize=6, markeredgewidth=0, label=_short(series.name))


def _interval(axes: Axes, figure: Figure, place: float, colour: str, width: float) -> None:
    low, high = _number(figure.low), _number(figure.high)
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, linewidth=width, solid_capstyle="butt")


def _upright_interval(axes: Axes, point: ReliabilityPoint, colour: str) -> None:
    low, high = _number(point.real.low), _number(point.real.high)
    if low is not None and high is not None:
        axes.plot([point.predicted] * 2, [low, high], color=colour, linewidth=1.6)


def _legend(drawing: Drawing, axes: Axes, columns: int, baselines: int) -> None:
    """Above the chart; the baselines, which were drawn first so as to lie behind, come last."""
    marks, names = axes.get_legend_handles_labels()
    legend = drawing.legend(
        marks[baselines:] + marks[:baselines],
        names[baselines:] + names[:baselines],
        loc="upper left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        fontsize=_points(_TEXT),
        borderaxespad=0.3,
        borderpad=0.1,
        labelspacing=0.35,
        handlelength=1.6,
    )
    for text in legend.get_texts():
        text.set_color(_INK)


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), [_label(name) for name in names], multialignment="right", linespacing=1.0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _values(axes: Axes, title: str, share: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def write(value: float) -> str:
        return (f"{100 * value:.6g} %" if share else f"{value:.6g}").replace("-", "−")

    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axes.set_xlabel(_short(title, 48), color=_INK)
    axes.grid(axis="x", color=_RULE, linewidth=0.6)


@contextmanager
def _drawing(height: float, left: float, top: float = 0.0) -> Iterator[tuple[Drawing, Axes]]:
    """An empty chart of so many CSS pixels' height, with the settings that its text needs until it is written."""
    mpl = optional("matplotlib", "eval", "The charts of a report")
    from matplotlib.figure import Figure as Drawing

    style: Any = {
        "font.size": _points(_TEXT),
        "text.parse_math": False,  # "$100,000 to $200,000" is no formula
        "svg.fonttype": "none",  # text stays text: it can be searched, read aloud and copied
        "svg.hashsalt": "modular-pluralism",
        "axes.unicode_minus": True,
        "path.simplify": False,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()  # no settings of the user's own
        mpl.rcParams.update(style)
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the reader's fonts draw the text
        drawing = Drawing(figsize=(_points(_WIDTH) / 72, _points(height) / 72), dpi=72, facecolor="none")
        under, above = 44.0, top + 10.0
        axes = drawing.add_axes(
            (left / _WIDTH, under / height, (_WIDTH - left - 18) / _WIDTH, (height - under - above) / height),
            facecolor="none",
        )
        axes.set_axisbelow(True)
        axes.tick_params(colors=_RULE, labelcolor=_INK, length=3)
        for spine in axes.spines.values():
            spine.set_visible(False)
        yield drawing, axes


def _svg(key: str, alt: str, drawing: Drawing) -> str:
    """The drawing as an <svg> element that can stand beside others in a page, without any style of its own."""
    written = io.StringIO()
    no_facts: Any = {"Date": None, "Creator": None, "Format": None, "Type": None}
    drawing.savefig(written, format="svg", metadata=no_facts)
    root = ElementTree.fromstring(written.getvalue())
    for name in ("metadata", "defs/style"):
        for parent in (root, *root.iter()):
            _remove(parent, name)
    used = set(re.findall(r"#([\w-]+)", " ".join(value for node in root.iter() for value in node.attrib.values())))
    for node in root.iter():
        _own_attributes(node, key, used)
        node.text, node.tail = (node.text if node.tag == f"{{{_SVG}}}text" else None), None
    root.attrib = {"class": "chart", "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": plain_text(alt)}
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _remove(parent: ElementTree.Element, path: str) -> None:
    """Take a child, or the child of a child, out of its parent."""
    first, _, rest = path.partition("/")
    for child in parent.findall(f"{{{_SVG}}}{first}"):
        if rest:
            _remove(child, rest)
        else:
            parent.remove(child)


def _own_attributes(node: ElementTree.Element, key: str, used: set[str]) -> None:
    """Styles become attributes, which no content policy forbids; ids get the chart's key, and unused ones go."""
    found = dict(node.attrib)
    for part in found.pop("style", "").split(";"):
        name, _, value = part.partition(":")
        found[name.strip()] = value.strip()
    for name in ("", "font", "font-family"):  # the page's style sheet chooses the font
        found.pop(name, None)
    if found.get("transform", "").startswith("rotate(-0 "):
        del found["transform"]
    if found.get("id") not in used:
        found.pop("id", None)
    for name, value in found.items():
        if name == "id":
            found[name] = f"{key}-{value}"
        elif name == f"{{{_XLINK}}}href" or value.startswith("url(#"):
            found[name] = value.replace("#", f"#{key}-")
        else:
            found[name] = _VARIABLES.get(value, value)
    if node.tag == f"{{{_SVG}}}text":
        found.setdefault("fill", "var(--ink)")
    node.attrib = found


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _points(pixels: float) -> float:
    return pixels * 0.75


def _cells(text: str) -> int:
    """Letters, where East Asian ones count as two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _label(name: str) -> str:
    """On one line, or on two."""
    line = " ".join(plain_text(name).split())
    if _cells(line) <= _LINE:
        return line
    first, *rest = textwrap.wrap(line, _LINE, break_on_hyphens=False) or [""]
    return "\n".join(_short(part, _LINE) for part in (first, " ".join(rest)) if part)


def _short(text: str, longest: int = 30) -> str:
    """On one line, and no longer than there is room for."""
    line = " ".join(plain_text(text).split())
    if _cells(line) <= longest:
        return line
    while _cells(line) >= longest:
        line = line[:-1]
    return line.rstrip() + "…"


def _room(names: Iterable[str]) -> float:
    """CSS pixels that the longest name takes to the left of the chart."""
    return 18 + _LETTER * max((_cells(line) for name in names for line in _label(name).split("\n")), default=0)


def _row_height(names: Iterable[str]) -> float:
    """CSS pixels that a row needs for its name."""
    return 38.0 if any("\n" in _label(name) for name in names) else 24.0
