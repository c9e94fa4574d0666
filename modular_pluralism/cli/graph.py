"""`pluralism graph`: the picture of a mode's graph, as Mermaid text."""

from __future__ import annotations

from typing import Annotated

import typer

from modular_pluralism.cli.call_options import ModeName, PoolOption

EXAMPLES = """
**Examples**

`pluralism graph --mode distributional`

`pluralism graph --mode overton --pool culture > overton.mmd`
"""


def graph(
    mode: Annotated[ModeName, typer.Option("--mode", "-m", help="Which mode's graph.")] = ModeName.overton,
    pool: PoolOption = "perspective",
) -> None:
    """Print the graph of a mode, with one node per community, as Mermaid. No model is loaded."""
    from modular_pluralism.graphs import build_distributional, build_overton, build_steerable

    builders = {
        ModeName.overton: build_overton,
        ModeName.steerable: build_steerable,
        ModeName.distributional: build_distributional,
    }
    drawing = builders[mode](pool).compile().get_graph(xray=True)
    drawing.nodes = {name: node._replace(metadata=None) for name, node in drawing.nodes.items()}  # else it is all text
    typer.echo(drawing.draw_mermaid().rstrip())
