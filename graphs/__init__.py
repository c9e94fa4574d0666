"""The state machines: which nodes, which edges. Files here only wire."""

from modular_pluralism.graphs.baselines import build_moe, build_prompting, build_vanilla
from modular_pluralism.graphs.distributional import build_distributional
from modular_pluralism.graphs.node_cache import NodeCache
from modular_pluralism.graphs.overton import build_overton
from modular_pluralism.graphs.pluralism import build_pluralism
from modular_pluralism.graphs.steerable import build_steerable

__all__ = [
    "NodeCache",
    "build_distributional",
    "build_moe",
    "build_overton",
    "build_pluralism",
    "build_prompting",
    "build_steerable",
    "build_vanilla",
]
