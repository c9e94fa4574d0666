"""What the builders share: the pool with its models and prompts, and the fan-out to its communities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.runnables import RunnableLambda
from langgraph.graph import StateGraph
from langgraph.types import CachePolicy

from modular_pluralism.errors import InputError
from modular_pluralism.graphs.node_key import NodeKey, Reads
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import Community, comment, given
from modular_pluralism.nodes.step import State, Step, Steps, Update, as_runnable
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Comment

Models = PoolModels | Mapping[str, BaseChatModel] | None
Comments = Mapping[str, str | Comment] | None
"""Comments that are known before the run, by community: those communities are not asked."""


@dataclass(frozen=True)
class Parts:
    """Everything that a graph is built from. `mode` is what callbacks are told; `defaults` are taken for parts of the
    question that it leaves out; `comments` are known already."""

    pool: Pool
    models: PoolModels
    prompts: PromptSet
    caller: Caller
    mode: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    comments: Mapping[str, str | Comment] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        pool: Pool | str | Path,
        prompts: PromptSet | None,
        models: Models,
        mode: str = "",
        defaults: Mapping[str, Any] | None = None,
        comments: Comments = None,
    ) -> Parts:
        """Fill in what the caller of a builder left out; `pool` may be a built-in name or a file.

        Raises:
            InputError: a comment is given of a community that the pool does not have.
        """
        pool = pool if isinstance(pool, Pool) else Pool.load(pool)
        for name in comments or {}:
            if name not in pool.communities:
                raise InputError(f"A comment of {name} is given; the pool has only {', '.join(pool.communities)}.")
        return cls(
            pool,
            models if isinstance(models, PoolModels) else PoolModels(pool, models),
            prompts or PromptSet.load(),
            Caller(attempts=pool.run.attempts, deadline=pool.run.deadline),
            mode,
            {name: value for name, value in (defaults or {}).items() if value is not None},
            comments or {},
        )

    @property
    def communities(self) -> list[str]:
        """Names of the communities, in the pool's order."""
        return list(self.pool.communities)

    @property
    def descriptions(self) -> dict[str, str]:
        """What each community is said to be, in the pool's order."""
        return {name: community.description for name, community in self.pool.communities.items()}

    def node(
        self, step: Step, name: str, *, role: str | None = None, community: str | None = None
    ) -> RunnableLambda[Any, Update]:
        """A graph node for a step. Callbacks are told the mode, the node's role (default: its name), and the community
        that it belongs to."""
        labels = {"community": community, "mode": self.mode or None, "role": role or name}
        marks = {key: value for key, value in labels.items() if value is not None}
        return as_runnable(self._filled(step), self.caller, name, marks)

    def add(
        self,
        graph: StateGraph[Any, Any, Any, Any],
        name: str,
        step: Step,
        *,
        role: str | None = None,
        community: str | None = None,
        reads: Reads | None = None,
        also: Any = None,
    ) -> None:
        """Add a step to a graph as `node` makes it, with what it depends on; `reads` and `also` as for `NodeKey`."""
        filled_reads = None if reads is None else lambda state: reads(self.with_defaults(state))
        key = NodeKey(self._filled(step), [self.mode, name, community or ""], filled_reads, also)
        runnable = self.node(step, name, role=role, community=community)
        graph.add_node(name, runnable, cache_policy=CachePolicy(key_func=key))

    def add_comment(self, graph: StateGraph[Any, Any, Any, Any], name: str) -> None:
        """Add the node in which a community comments."""
        self.add(graph, name, self._comment(name), role="comment", community=name)

    def _comment(self, name: str) -> Step:
        if name in self.comments:
            return given(name, self.comments[name])
        return comment(self.community(name), self.models, self.prompts)

    def community(self, name: str) -> Community:
        """What the nodes of a community know of it."""
        return Community(name, self.pool.persona_text(name, self.prompts), self.pool.run.comment_tokens)

    def _filled(self, step: Step) -> Step:
        """The step, which is given the defaults, too."""

        def filled(state: State) -> Steps | Update:
            return step(self.with_defaults(state))

        return filled if self.defaults else step

    def with_defaults(self, state: State) -> State:
        """The state, with the defaults for what is not in it."""
        return {**state, **{key: value for key, value in self.defaults.items() if state.get(key) is None}}
