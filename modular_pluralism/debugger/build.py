"""From what a run is made of to its graph, and to the picture of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langgraph.graph import StateGraph

from modular_pluralism.debugger.events import NodeInfo
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import find_mode
from modular_pluralism.runs.edits import Edited
from modular_pluralism.types import Mode, Scoring, Voice

OwnModels = Mapping[str, BaseChatModel] | None
"""LangChain chat models in the place of the pool's [models.*], by name."""


def build_graph(
    mode: Mode, scoring: Scoring, made_of: Edited, models: PoolModels, *, voice: Voice = "comment"
) -> StateGraph[Any, Any, Any, Any]:
    """The graph of a mode, not compiled."""
    more: dict[str, Any] = {"prompts": made_of.prompts, "models": models, "comments": made_of.comments}
    return find_mode(mode).graph(made_of.pool, scoring=scoring, voice=voice, **more)


def picture(mode: Mode, communities: Sequence[str], voice: Voice = "comment") -> list[NodeInfo]:
    """The boxes of a mode's graph, in the order of the work."""
    nodes = find_mode(mode).nodes(tuple(communities), voice=voice)
    return [NodeInfo(node.id, node.role, node.community, node.after) for node in nodes]


def has_branches(mode: Mode, voice: Voice) -> bool:
    """Whether each community is a graph of its own within the graph."""
    return any("/" in node.id for node in find_mode(mode).nodes(voice=voice))


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
