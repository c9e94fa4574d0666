"""The state machines: which nodes, which edges. Files here only wire."""

# Modes are listed in the order in which their files are imported.
# isort: off
from modular_pluralism.graphs.overton import build_overton
from modular_pluralism.graphs.steerable import build_steerable
from modular_pluralism.graphs.distributional import build_distributional
from modular_pluralism.graphs.assembly import build_assembly

# isort: on
from modular_pluralism.graphs.baselines import BASELINES, build_moe, build_prompting, build_vanilla
from modular_pluralism.graphs.comments import build_comments
from modular_pluralism.graphs.conversation import build_conversation
from modular_pluralism.graphs.node_cache import NodeCache
from modular_pluralism.graphs.pluralism import build_pluralism

__all__ = [
    "BASELINES",
    "NodeCache",
    "build_assembly",
    "build_comments",
    "build_conversation",
    "build_distributional",
    "build_moe",
    "build_overton",
    "build_pluralism",
    "build_prompting",
    "build_steerable",
    "build_vanilla",
]
