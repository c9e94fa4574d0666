"""What the builders share: the pool with its models and prompts, and the fan-out to its communities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.runnables import RunnableLambda

from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import Community, comment
from modular_pluralism.nodes.step import State, Step, Steps, Update, as_runnable
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet

Models = PoolModels | Mapping[str, BaseChatModel] | None


@dataclass(frozen=True)
class Parts:
    """Everything that a graph is built from. `mode` is what callbacks are told; `defaults` are taken for parts of the
    question that it leaves out."""

    pool: Pool
    models: PoolModels
    prompts: PromptSet
    caller: Caller
    mode: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        pool: Pool | str | Path,
        prompts: PromptSet | None,
        models: Models,
        mode: str = "",
        defaults: Mapping[str, Any] | None = None,
    ) -> Parts:
        """Fill in what the caller of a builder left out; `pool` may be a built-in name or a file."""
        pool = pool if isinstance(pool, Pool) else Pool.load(pool)
        return cls(
            pool,
            models if isinstance(models, PoolModels) else PoolModels(pool, models),
            prompts or PromptSet.load(),
            Caller(attempts=pool.run.attempts, deadline=pool.run.deadline),
            mode,
            {name: value for name, value in (defaults or {}).items() if value is not None},
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

        def filled(state: State) -> Steps | Update:
            return step(self.with_defaults(state))

        given = {key: value for key, value in labels.items() if value is not None}
        return as_runnable(filled if self.defaults else step, self.caller, name, given)

    def with_defaults(self, state: State) -> State:
        """The state, with the defaults for what is not in it."""
        return {**state, **{key: value for key, value in self.defaults.items() if state.get(key) is None}}

    def comment_node(self, name: str) -> RunnableLambda[Any, Update]:
        """The node in which a community comments."""
        persona = self.pool.persona_text(name, self.prompts)
        community = Community(name, persona, self.pool.run.comment_tokens)
        return self.node(comment(community, self.models, self.prompts), name, role="comment", community=name)
