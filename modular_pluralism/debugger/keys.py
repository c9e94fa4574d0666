"""What the nodes of a run depend on, under the ids that events use."""

from __future__ import annotations

from modular_pluralism.debugger.build import build_graph
from modular_pluralism.graphs.node_key import NodeKey, node_keys
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.runs.edits import Edited
from modular_pluralism.runs.setup import Setup


def run_keys(setup: Setup, made_of: Edited, models: PoolModels) -> dict[str, NodeKey]:
    """The key of every node of the graph that a setup stands for."""
    graph = build_graph(setup.mode, setup.scoring, made_of, models, voice=setup.voice)
    return {_id(path): key for path, key in node_keys(graph).items()}


def _id(path: str) -> str:
    branch, _, name = path.partition("/")
    return branch if name == branch else path
