"""The graph as boxes in layers, which light up as a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.icon import Icon
from nicegui.elements.mixins.text_element import TextElement

from modular_pluralism.debugger.page.elements import attributes, box, hue, tag_of, text
from modular_pluralism.debugger.page.words import STATES
from modular_pluralism.types import Mode

_BESIDE = 6
"""So many boxes stand beside each other; more of them stand in rows, inside a frame."""

AFTER: dict[Mode, list[str]] = {
    "overton": ["merge"],
    "steerable": ["select", "respond"],
    "distributional": ["aggregate"],
}
"""The nodes that come after the communities."""

TITLES = {
    "check": "Question",
    "merge": "Merge",
    "select": "Select",
    "respond": "Answer",
    "aggregate": "Pool",
}
_ICONS = {
    "check": "help_outline",
    "merge": "merge_type",
    "select": "checklist",
    "respond": "chat_bubble_outline",
    "aggregate": "bar_chart",
}


@dataclass
class _Drawn:
    element: Element
    icon: Icon
    word: TextElement
    cost: TextElement
    title: str
    shown: tuple[str, str] | None = None


class GraphView:
    """The drawing. A click on a box calls `on_open` with its node's name."""

    def __init__(self, mode: Mode, communities: Sequence[str], on_open: Callable[[str], object]) -> None:
        self._on_open = on_open
        self._boxes: dict[str, _Drawn] = {}
        count = len(communities)
        beside = ceil(count / ceil(count / _BESIDE))
        with attributes(box("graph"), role="group", **{"aria-label": "The graph: a box for each of its nodes"}):
            self._single("check")
            _wires(count if count <= _BESIDE else 1, fan_out=True)
            framed = "framed" if count > _BESIDE else "frames"
            with box(f"layer {framed}").style(f"--n: {beside}"):
                for place, name in enumerate(communities):
                    with box("cell"):
                        self._box(name, place)
            _wires(count if count <= _BESIDE else 1, fan_out=False)
            for place, name in enumerate(AFTER[mode]):
                if place:
                    _wires(1, fan_out=True)
                self._single(name)

    def show(self, node: str, state: str, cost: str = "") -> None:
        """Put a box into a state (one of STATES) with what it has cost so far."""
        drawn = self._boxes.get(node)
        if drawn is None or drawn.shown == (state, cost):
            return
        words = STATES[state]
        if drawn.shown is None or drawn.shown[0] != state:
            drawn.icon.set_name(words.icon)
            drawn.word.set_text(words.word)
        drawn.cost.set_text(cost)
        drawn.shown = (state, cost)
        said = f"{drawn.title}: {words.word}{', ' if cost else ''}{cost}. Show what was asked and answered."
        attributes(drawn.element, **{"data-state": state, "aria-label": said})

    @property
    def nodes(self) -> list[str]:
        """Every box's node."""
        return list(self._boxes)

    def _single(self, node: str) -> None:
        with box("layer one"), box("cell"):
            self._box(node, None)

    def _box(self, node: str, place: int | None) -> None:
        title = node if place is not None else TITLES[node]
        made = attributes(ui.element("button").classes("box"), type="button", **{"data-node": node})
        made.on("click", lambda _: self._on_open(node))
        with made:
            with box("who", "span"):
                if place is None:
                    ui.icon(_ICONS[node])
                else:
                    tag_of(place, node)
                attributes(text(title, "title", "span"), title=title)
            with box("how", "span"):
                icon = ui.icon("schedule")
                word = text("", tag="span")
            cost = text("", "cost", "span")
        if place is not None:
            made.style(hue(place))
        self._boxes[node] = _Drawn(made, icon, word, cost, title)
        self.show(node, "waiting")


def _wires(count: int, *, fan_out: bool) -> None:
    """Lines between one box and the boxes of a layer; on a narrow page the layer has a frame, and one line to it."""
    for classes, lines in (("wires wide", count), ("wires narrow", 1)):
        svg = attributes(ui.element("svg").classes(classes), preserveAspectRatio="none", viewBox=f"0 0 {lines} 1")
        attributes(svg, **{"aria-hidden": "true"})
        with svg:
            for line in range(lines):
                one, many = lines / 2, line + 0.5
                start, end = (one, many) if fan_out else (many, one)
                attributes(ui.element("path"), d=f"M{start} 0C{start} .6 {end} .4 {end} 1")
