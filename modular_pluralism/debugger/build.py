"""From what a run is made of to its graph, and to the picture of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langgraph.graph import StateGraph

from modular_pluralism.debugger.events import NodeInfo
from modular_pluralism.graphs import build_distributional, build_overton, build_steerable
from modular_pluralism.graphs.shape import GraphNode, graph_nodes
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import CommunityConfig, Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.edits import Edited
from modular_pluralism.types import Mode, Scoring, Voice

OwnModels = Mapping[str, BaseChatModel] | None
"""LangChain chat models in the place of the pool's [models.*], by name."""


def build_graph(
    mode: Mode, scoring: Scoring, made_of: Edited, models: PoolModels, *, voice: Voice = "comment"
) -> StateGraph[Any, Any, Any, Any]:
    """The graph of a mode, not compiled."""
    shared: dict[str, Any] = {"prompts": made_of.prompts, "models": models, "comments": made_of.comments}
    match mode:
        case "overton":
            return build_overton(made_of.pool, **shared)
        case "steerable":
            return build_steerable(made_of.pool, scoring=scoring, **shared)
        case "distributional":
            return build_distributional(made_of.pool, scoring=scoring, voice=voice, **shared)


def picture(mode: Mode, communities: Sequence[str], voice: Voice = "comment") -> list[NodeInfo]:
    """The boxes of a mode's graph, in the order of the work."""
    return [NodeInfo(node.id, node.role, node.community, node.after) for node in shape(mode, tuple(communities), voice)]


def has_branches(mode: Mode, voice: Voice) -> bool:
    """Whether each community is a graph of its own within the graph."""
    return any("/" in node.id for node in shape(mode, ("community",), voice))


@lru_cache(64)
def shape(mode: Mode, communities: tuple[str, ...], voice: Voice) -> tuple[GraphNode, ...]:
    """The nodes of a mode's graph with these communities. The pool they are in need not be there any more."""
    said = {name: CommunityConfig(model="model", description=name) for name in communities}
    pool = Pool.model_validate({"base": "model", "models": {"model": {"gguf": "none.gguf"}}, "communities": said})
    return tuple(
        graph_nodes(build_graph(mode, "rotate", Edited(pool, PromptSet.load(), {}), PoolModels(pool), voice=voice))
    )


def branch_id(community: str, role: str) -> str:
    """What events call a node that follows a comment in a community's branch."""
    return f"{community}/{role}"


def score_id(community: str) -> str:
    """What events call the scoring of a community's comment."""
    return branch_id(community, "score")


def node_id(name: str, namespace: str) -> str:
    """What events call the node `name`; `namespace` is LangGraph's, such as "" or "news_left:4f1c…"."""
    branch = namespace.split("|")[0].partition(":")[0]
    return branch_id(branch, name) if branch and name != branch else name
