"""The graph as boxes in layers, which light up as a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

from nicegui import ui

from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.progress import NodeProgress, box_of
from modular_pluralism.debugger.page.words import STATES, role_words
from modular_pluralism.graphs.shape import GraphNode

_BESIDE = 6
"""So many boxes stand beside each other; more of them stand in rows, inside a frame."""


class _Box:
    """The box of a node."""

    def __init__(self, node: GraphNode, communities: Sequence[str], on_open: Callable[[str], None]) -> None:
        self._title = node.id if node.community else role_words(node.role).title
        with el.button("", lambda: on_open(node.id), kind="box", **{"data-node": node.id}) as self._button:
            with el.box("who", "span"):
                if node.community:
                    el.community(node.id, communities, "")
                    self._button.style(el.hue(communities.index(node.id)))
                else:
                    ui.icon(role_words(node.role).icon)
                el.text(self._title, "title", "span", title=self._title)
            with el.box("how", "span"):
                self._icon = ui.icon("schedule")
                self._word = el.text("", tag="span")
            self._cost = el.text("", "cost", "span")
        self.show("waiting", "")

    def show(self, state: str, cost: str) -> None:
        word, _, icon = STATES[state]
        self._icon.set_name(icon)
        self._word.set_text(word)
        self._cost.set_text(cost)
        said = f"{self._title}: {word}{', ' if cost else ''}{cost}. Show what was asked and answered."
        el.attributes(self._button, said, **{"data-state": state})


class GraphView:
    """The drawing of a graph with these nodes. A click on a box calls `on_open` with its node's name."""

    def __init__(self, nodes: Sequence[GraphNode], on_open: Callable[[str], None]) -> None:
        self._on_open = on_open
        self._boxes: dict[str, _Box] = {}
        layers = _layers(nodes)
        self._communities = [node.id for layer in layers for node in layer if node.community]
        with el.box("graph", role="group", label="The graph: a box for each of its nodes"):
            for above, layer in zip([[], *layers], layers, strict=False):
                if above:
                    _wires(max(map(_width, (above, layer))), fan_out=len(above) <= len(layer))
                self._layer(layer)

    def show(self, node: str, progress: NodeProgress) -> None:
        """Put a box into the state of its node, with what it has cost so far."""
        self._boxes[node].show(progress.state, progress.short_cost)

    @property
    def nodes(self) -> list[str]:
        """Every box's node, in the order of the work."""
        return list(self._boxes)

    def _layer(self, layer: Sequence[GraphNode]) -> None:
        single = len(layer) == 1 and not layer[0].community
        kind = "one" if single else "framed" if len(layer) > _BESIDE else "frames"
        beside = ceil(len(layer) / ceil(len(layer) / _BESIDE))
        with el.box(f"layer {kind}").style("" if single else f"--n: {beside}"):
            for node in layer:
                with el.box("cell"):
                    self._boxes[node.id] = _Box(node, self._communities, self._on_open)


def _layers(nodes: Sequence[GraphNode]) -> list[list[GraphNode]]:
    """The nodes that have a box, by how many boxes stand before them; what follows in a community's branch has none."""
    depths: dict[str, int] = {}
    layers: list[list[GraphNode]] = []
    for node in nodes:
        if node.id == box_of(node.id):
            depth = depths[node.id] = max((depths[box_of(before)] + 1 for before in node.after), default=0)
            layers += [[] for _ in range(depth + 1 - len(layers))]
            layers[depth].append(node)
    return layers


def _width(layer: Sequence[GraphNode]) -> int:
    """How many lines reach a layer; a frame takes one."""
    return len(layer) if len(layer) <= _BESIDE else 1


def _wires(count: int, *, fan_out: bool) -> None:
    """Lines between one box and the boxes of a layer; on a narrow page the layer has a frame, and one line to it."""
    for classes, lines in (("wires wide", count), ("wires narrow", 1)):
        view = {"preserveAspectRatio": "none", "viewBox": f"0 0 {lines} 1", "aria-hidden": "true"}
        with el.box(classes, "svg", **view):
            for line in range(lines):
                one, many = lines / 2, line + 0.5
                start, end = (one, many) if fan_out else (many, one)
                el.box("", "path", d=f"M{start} 0C{start} .6 {end} .4 {end} 1")
