"""What the builders share: the pool with its models and prompts, and the fan-out to its communities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.graph import START, StateGraph
from langgraph.types import CachePolicy

from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.graphs.node_key import NodeKey
from modular_pluralism.graphs.shape import written_keys
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import Need, Takes
from modular_pluralism.nodes.answer import answer
from modular_pluralism.nodes.check import check
from modular_pluralism.nodes.comment import Speaker, comment, given
from modular_pluralism.nodes.request import check_scoring, check_seed
from modular_pluralism.nodes.step import QuestionParts, Step, as_runnable
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Comment, Scoring

Models = PoolModels | Mapping[str, Runnable[Any, Any]] | None
Comments = Mapping[str, str | Comment] | None
"""Comments that are known before the run, by community: those communities are not asked."""


ANYTHING = Takes("optional", "optional")
_MAY_BE: Mapping[Need, tuple[bool, ...]] = {"refused": (False,), "optional": (False, True), "required": (True,)}


class Parts:
    """Everything that a graph is built from, with what the caller of a builder left out."""

    def __init__(
        self,
        pool: Pool | str | Path,
        prompts: PromptSet | None,
        models: Models,
        mode: str = "",
        defaults: Mapping[str, Any] | None = None,
        comments: Comments = None,
        takes: Takes = ANYTHING,
    ) -> None:
        """`pool` may be a built-in name or a file. `mode` is what callbacks are told; `defaults` are taken for parts of
        the question that it leaves out; `comments` are known already; `takes` is what questions have beside their text.

        Raises:
            InputError: a comment is given of a community that the pool does not have.
        """
        self.pool = pool if isinstance(pool, Pool) else Pool.load(pool)
        for name in comments or {}:
            if name not in self.pool.communities:
                raise InputError(f"A comment of {name} is given; the pool has only {', '.join(self.communities)}.")
        self.models = models if isinstance(models, PoolModels) else PoolModels(self.pool, models)
        self.prompts = prompts or PromptSet.load()
        self.caller = Caller(attempts=self.pool.run.attempts, deadline=self.pool.run.deadline)
        self.mode, self.takes, self.comments = mode, takes, comments or {}
        check_seed((defaults or {}).get("seed"))
        self.defaults = {name: value for name, value in (defaults or {}).items() if value is not None}

    @property
    def communities(self) -> list[str]:
        """Names of the communities, in the pool's order."""
        return list(self.pool.communities)

    @property
    def descriptions(self) -> dict[str, str]:
        """What each community is said to be, in the pool's order."""
        return {name: community.description for name, community in self.pool.communities.items()}

    def add(
        self,
        graph: StateGraph[Any, Any, Any, Any],
        name: str,
        step: Step,
        *,
        role: str | None = None,
        community: str | None = None,
    ) -> None:
        """Add a step to a graph. Callbacks are told the mode, the node's role (default: its name), and the community
        that it belongs to. LangGraph's metadata of the node say the same, and the names of the prompts that the step
        may use."""
        self._check_names(graph, name, is_community=name == community)
        step, marks = step.with_defaults(self.defaults), self.marks(role or name, community)
        key = NodeKey(step, [self.mode, name, community or ""], graph, name)
        prompts = list(dict.fromkeys(prompt for question in self._questions() for prompt in step.prompts(question)))
        graph.add_node(
            name,
            as_runnable(step, self.caller, name, marks),
            metadata={**marks, **({"prompts": prompts} if prompts else {})},
            cache_policy=CachePolicy(key_func=key),
        )

    def marks(self, role: str, community: str | None = None) -> dict[str, str]:
        """What a node says of itself to callbacks and in LangGraph's metadata."""
        marks = {"community": community, "mode": self.mode or None, "role": role}
        return {key: value for key, value in marks.items() if value is not None}

    def add_check(self, graph: StateGraph[Any, Any, Any, Any], *, any_mode: bool = False) -> None:
        """Add the node with which every run begins."""
        results = written_keys(graph)
        self.add(graph, "check", check(results=results, mode=self.mode, takes=self.takes, any_mode=any_mode))
        graph.add_edge(START, "check")

    def _check_names(self, graph: StateGraph[Any, Any, Any, Any], node: str, *, is_community: bool) -> None:
        """Raise PoolError where a community is called as a part of the graph is, be it in another case."""
        taken = {key.lower() for key in (*graph.channels, *graph.nodes)} if is_community else {node.lower()}
        for name in [node] if is_community else self.communities:
            if name.lower() in taken:
                raise PoolError(
                    f"pool {self.pool.name}: [communities.{name}] has a name that graphs use themselves; rename it"
                )

    def _questions(self) -> Iterator[QuestionParts]:
        """The questions that there may be, by the parts that they have."""
        for options in _MAY_BE[self.takes.options]:
            for attribute in _MAY_BE[self.takes.attribute]:
                yield QuestionParts(options, attribute)

    def add_comment(self, graph: StateGraph[Any, Any, Any, Any], name: str) -> None:
        """Add the node in which a community comments."""
        known = self.comments.get(name)
        step = comment(self.community(name), self.models, self.prompts) if known is None else given(name, known)
        self.add(graph, name, step, role="comment", community=name)

    def answer(self, prompt: str, scoring: Scoring, group_prompt: str | None = None) -> Step:
        """The base LLM's answer with the prompt of that name; see `nodes.answer`.

        Raises:
            InputError: there is no such scoring.
        """
        return answer(
            self.models,
            self.prompts,
            prompt,
            max_tokens=self.pool.run.answer_tokens,
            scoring=check_scoring(scoring),
            samples=self.pool.run.score_samples,
            group_prompt=group_prompt,
        )

    def community(self, name: str) -> Speaker:
        """What the nodes of a community know of it."""
        return Speaker(name, self.pool.persona_text(name, self.prompts), self.pool.run.comment_tokens)
