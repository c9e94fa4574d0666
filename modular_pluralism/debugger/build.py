"""From what a run is made of to its graph, and to the nodes in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langgraph.graph import StateGraph

from modular_pluralism.graphs.shape import GraphNode
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import find_mode
from modular_pluralism.runs.edits import Edited
from modular_pluralism.runs.setup import Setup
from modular_pluralism.types import Mode, Scoring, Voices

OwnModels = Mapping[str, BaseChatModel] | None
"""LangChain chat models in the place of the pool's [models.*], by name."""


def build_graph(
    mode: Mode, scoring: Scoring, made_of: Edited, models: PoolModels, *, voice: Voices = "comment"
) -> StateGraph[Any, Any, Any, Any]:
    """The graph of a mode, not compiled."""
    more: dict[str, Any] = {"prompts": made_of.prompts, "models": models, "comments": made_of.comments}
    return find_mode(mode).graph(made_of.pool, scoring=scoring, voice=voice, **more)


def nodes_of(setup: Setup) -> list[GraphNode]:
    """The nodes of a run's graph, in the order of the work; its pool need not be there any more."""
    return find_mode(setup.mode).nodes(tuple(setup.communities), scoring=setup.scoring, voice=setup.voice)


def node_id(name: str, namespace: str) -> str:
    """What events call the node `name`; `namespace` is LangGraph's, such as "" or "news_left:4f1c…"."""
    branch = namespace.partition("|")[0].partition(":")[0]
    return f"{branch}/{name}" if branch and name != branch else name
