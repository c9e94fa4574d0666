"""What the nodes of a run depend on, under the ids that events use."""

from __future__ import annotations

from modular_pluralism.debugger.build import build_graph
from modular_pluralism.graphs.node_key import NodeKey
from modular_pluralism.graphs.shape import graph_nodes
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.runs.edits import Edited
from modular_pluralism.runs.setup import Setup


def run_keys(setup: Setup, made_of: Edited, models: PoolModels) -> dict[str, NodeKey]:
    """The key of every node of the graph that a setup stands for."""
    graph = build_graph(setup.mode, setup.scoring, made_of, models, voice=setup.voice)
    return {node.id: node.key for node in graph_nodes(graph) if node.key is not None}
