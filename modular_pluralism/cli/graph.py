"""`pluralism graph`: the picture of a mode's graph, as Mermaid text."""

from __future__ import annotations

from modular_pluralism.cli.call_options import ModeOption, PoolOption, examples
from modular_pluralism.cli.output import tell

EXAMPLES = examples("""
pluralism graph --mode distributional
pluralism graph --mode overton --pool culture > overton.mmd
""")


def graph(mode: ModeOption = "overton", pool: PoolOption = "perspective") -> None:
    """Print the graph of a mode, with one node per community, as Mermaid. No model is loaded."""
    from modular_pluralism.modes import find_mode

    drawing = find_mode(mode).graph(pool).compile().get_graph(xray=True)
    drawing.nodes = {name: node._replace(metadata=None) for name, node in drawing.nodes.items()}  # else it is all text
    tell(drawing.draw_mermaid().rstrip())
