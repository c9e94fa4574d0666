"""What a graph looks like, read from the graph itself: its nodes with what they say of themselves, and their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_type_hints

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from modular_pluralism.graphs.node_key import NodeKey
from modular_pluralism.nodes.step import QuestionParts
from modular_pluralism.pool import Community, EmbeddedModel, Pool


@dataclass(frozen=True)
class GraphNode:
    """A node that does something itself, in the graph or in a subgraph of it.

    `id` is its name, or "SUBGRAPH/NAME" in a subgraph, where a node that is called as its subgraph is just "NAME": the
    comment in a community's branch is called as the community. `after` are the ids of the nodes before it. `role`,
    `community` and `prompts` are those of LangGraph's metadata of the node; `prompts` are all that it may use.
    """

    id: str
    name: str
    role: str
    community: str | None
    prompts: list[str]
    after: list[str]
    key: NodeKey | None

    def prompts_on(self, question: QuestionParts) -> list[str]:
        """The prompts that it uses on a question with these parts."""
        return self.key.step.prompts(question) if self.key else self.prompts


def graph_nodes(graph: StateGraph[Any, Any, Any, Any]) -> list[GraphNode]:
    """The nodes of a graph that is not compiled, and of its subgraphs: by layers, in the order of the work."""
    nodes, _ = _inside(graph, "", [])
    depths: dict[str, int] = {}
    for node in nodes:
        depths[node.id] = 1 + max((depths.get(before, 0) for before in node.after), default=0)
    return sorted(nodes, key=lambda node: depths[node.id])


def written_keys(graph: StateGraph[Any, Any, Any, Any]) -> list[str]:
    """The keys of the state that a run of the graph writes: all that are no part of its question."""
    asked = get_type_hints(graph.input_schema)
    return [key for key in graph.channels if key not in asked]


def example_pool(communities: Iterable[str], name: str = "pool") -> Pool:
    """A pool of these communities, for graphs that are only looked at: none of its files is there."""
    described = {each: Community(model="model", description=each, answers="none.csv") for each in communities}
    model = EmbeddedModel(gguf="none.gguf")
    return Pool(base="model", models={"model": model}, communities=described, name=name)


@lru_cache(128)
def nodes_of_builder(
    build: Callable[..., StateGraph[Any, Any, Any, Any]], communities: tuple[str, ...], **settings: Any
) -> list[GraphNode]:
    """The nodes of the graph that a builder makes for these communities, to be looked at: no pool has to be there."""
    return graph_nodes(build(example_pool(communities), **settings))


def _inside(
    graph: StateGraph[Any, Any, Any, Any], place: str, before: Sequence[str]
) -> tuple[list[GraphNode], list[str]]:
    """The nodes, each behind those before it, and the ids of the last ones; `before` are those before the graph."""
    edges = _edges(graph)
    nodes: list[GraphNode] = []
    ends: dict[str, list[str]] = {START: list(before)}

    def visit(name: str) -> None:
        ends[name] = []
        starts = dict.fromkeys(start for start, end in edges if end == name)
        for start in starts:
            if start not in ends:
                visit(start)
        after = list(dict.fromkeys(end for start in starts for end in ends[start]))
        spec = graph.nodes[name]
        if isinstance(spec.runnable, CompiledStateGraph):
            inner, ends[name] = _inside(spec.runnable.builder, f"{place}{name}/", after)
            nodes.extend(inner)
            return
        facts = spec.metadata or {}
        path = place[:-1] if place.endswith(f"{name}/") else f"{place}{name}"
        key = spec.cache_policy.key_func if spec.cache_policy else None
        ends[name] = [path]
        nodes.append(
            GraphNode(
                path,
                name,
                str(facts.get("role", name)),
                facts.get("community"),
                list(facts.get("prompts", [])),
                after,
                key if isinstance(key, NodeKey) else None,
            )
        )

    for name in graph.nodes:
        if name not in ends:
            visit(name)
    last = [name for name in graph.nodes if {end for start, end in edges if start == name} <= {END}]
    return nodes, [end for name in last for end in ends[name]]


def _edges(graph: StateGraph[Any, Any, Any, Any]) -> list[tuple[str, str]]:
    """From node to node, whatever they depend on."""
    joined = [(start, end) for starts, end in graph.waiting_edges for start in starts]
    routes = [
        (start, end)
        for start, branches in graph.branches.items()
        for branch in branches.values()
        for end in (branch.ends or {}).values()
    ]
    order = {name: number for number, name in enumerate(graph.nodes)}  # a graph keeps its edges in a set
    edges = sorted({*graph.edges, *joined, *routes}, key=lambda edge: [order.get(name, -1) for name in edge])
    return _without_loops(edges)


def _without_loops(edges: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The edges without those that lead back to a node on the way to them: the order of the work is that of its first
    round."""
    back: set[tuple[str, str]] = set()
    done: set[str] = set()

    def follow(name: str, way: frozenset[str]) -> None:
        for edge in edges:
            if edge[0] == name and edge[1] in way:
                back.add(edge)
            elif edge[0] == name and edge[1] not in done:
                follow(edge[1], way | {edge[1]})
        done.add(name)

    follow(START, frozenset([START]))
    return [edge for edge in edges if edge not in back]
