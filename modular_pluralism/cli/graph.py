"""`pluralism graph`: the picture of a mode's graph, as Mermaid text."""

from __future__ import annotations

from typing import Annotated

import typer

from modular_pluralism.cli.call_options import PoolOption
from modular_pluralism.types import Mode

EXAMPLES = """
**Examples**

`pluralism graph --mode distributional`

`pluralism graph --mode overton --pool culture > overton.mmd`
"""


def graph(
    mode: Annotated[Mode, typer.Option("--mode", "-m", help="Which mode's graph.")] = "overton",
    pool: PoolOption = "perspective",
) -> None:
    """Print the graph of a mode, with one node per community, as Mermaid. No model is loaded."""
    from modular_pluralism.graphs import build_distributional, build_overton, build_steerable

    builders = {
        "overton": build_overton,
        "steerable": build_steerable,
        "distributional": build_distributional,
    }
    drawing = builders[mode](pool).compile().get_graph(xray=True)
    drawing.nodes = {name: node._replace(metadata=None) for name, node in drawing.nodes.items()}  # else it is all text
    typer.echo(drawing.draw_mermaid().rstrip())
