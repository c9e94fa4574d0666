"""Where every prompt is used: in which graph or measure, and by which node of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from modular_pluralism.evaluation.data.items import Kind
from modular_pluralism.evaluation.measures.judge import CRITERIA
from modular_pluralism.evaluation.run.methods import MODES
from modular_pluralism.graphs.baselines import BASELINES, baseline_settings
from modular_pluralism.graphs.every_graph import every_graph
from modular_pluralism.graphs.shape import GraphNode, nodes_of_builder
from modular_pluralism.modes import find_mode
from modular_pluralism.nodes.evidence import told_prompts
from modular_pluralism.nodes.step import QuestionParts
from modular_pluralism.pool import Pool
from modular_pluralism.types import ItemScoring, MethodName, Scoring, Voices


class Use(NamedTuple):
    """`graph` is a mode, a baseline, or "evaluation" and "optimise", which are no graphs; `node` is the part of it."""

    graph: str
    node: str


_BESIDE_GRAPHS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "evaluation": {
        "entailment": ("judge_entailment", "option"),
        "pairs of answers": ("judge_pair", "option"),
        "ratings": ("judge_rating", *(f"judge_{name}" for name in CRITERIA)),
        "--perspectives": ("perspectives",),
    },
    "pools": {"community without a persona": ("described_persona",)},
    "optimise": {"reflect": ("reflect", "reflect_example", "reflect_again")},
}


def uses_of(name: str) -> list[Use]:
    """Every use of the prompt `name` (its file's name without the ending). A persona is used by communities of pools,
    and has none here."""
    in_graphs = [Use(graph, _part(node)) for graph, node in _nodes() if name in node.prompts]
    beside = [Use(what, part) for what, parts in _BESIDE_GRAPHS.items() for part in parts if name in parts[part]]
    return list(dict.fromkeys([*in_graphs, *beside]))


def prompts_in_use(kind: Kind, method: MethodName, scoring: ItemScoring, pool: Pool) -> frozenset[str]:
    """The prompts that the method uses with this pool on some items of this kind, beside its communities' personas:
    another text of any other prompt changes nothing there."""
    mode = find_mode(MODES[kind])
    nodes = mode.nodes(scoring=scoring) if method == "modular" else _of_baseline(method, scoring, mode.name)
    questions = [QuestionParts(options=kind != "overton", attribute=attribute) for attribute in (False, True)]
    return _told(pool, nodes, questions)


def prompts_of_mode(name: str) -> frozenset[str]:
    """The prompts that the mode may use, however options are read and communities heard, beside the personas."""
    mode = find_mode(name)
    nodes = (
        node for settings in mode.every_setting() for node in nodes_of_builder(mode.build, ("community",), **settings)
    )
    return frozenset(prompt for node in nodes for prompt in node.prompts)


def prompts_on(
    name: str, questions: Iterable[QuestionParts], pool: Pool, *, scoring: Scoring = "rotate", voice: Voices = "comment"
) -> frozenset[str]:
    """The prompts that the mode uses with this pool on questions with these parts."""
    return _told(pool, find_mode(name).nodes(scoring=scoring, voice=voice), set(questions))


def _told(pool: Pool, nodes: Iterable[GraphNode], questions: Collection[QuestionParts]) -> frozenset[str]:
    """Those of the nodes' prompts; the nodes are those of any pool, in which every community has a record."""
    used = (prompt for node in nodes for question in questions for prompt in node.prompts_on(question))
    return frozenset(told_prompts(pool, used))


def _nodes() -> Iterator[tuple[str, GraphNode]]:
    """The nodes of every graph, however options are read and communities heard."""
    for name, build, settings in every_graph():
        yield from ((name, node) for node in nodes_of_builder(build, ("community",), **settings))


def _of_baseline(name: str, scoring: Scoring, mode: str) -> list[GraphNode]:
    return nodes_of_builder(BASELINES[name], ("community",), scoring=scoring, **baseline_settings(name, mode))


def _part(node: GraphNode) -> str:
    return "community" if node.role == "comment" else node.role
