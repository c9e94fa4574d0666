"""What the builders share: the pool with its models and prompts, and the fan-out to its communities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.runnables import RunnableLambda

from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import Community, comment
from modular_pluralism.nodes.step import Step, Update, as_runnable
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet

Models = PoolModels | Mapping[str, BaseChatModel] | None


@dataclass(frozen=True)
class Parts:
    """Everything that a graph is built from."""

    pool: Pool
    models: PoolModels
    prompts: PromptSet
    caller: Caller

    @classmethod
    def of(cls, pool: Pool | str | Path, prompts: PromptSet | None, models: Models) -> Parts:
        """Fill in what the caller of a builder left out; `pool` may be a built-in name or a file."""
        pool = pool if isinstance(pool, Pool) else Pool.load(pool)
        return cls(
            pool,
            models if isinstance(models, PoolModels) else PoolModels(pool, models),
            prompts or PromptSet.load(),
            Caller(attempts=pool.run.attempts, deadline=pool.run.deadline),
        )

    @property
    def communities(self) -> list[str]:
        """Names of the communities, in the pool's order."""
        return list(self.pool.communities)

    @property
    def descriptions(self) -> dict[str, str]:
        """What each community is said to be, in the pool's order."""
        return {name: community.description for name, community in self.pool.communities.items()}

    def node(self, step: Step, name: str) -> RunnableLambda[Any, Update]:
        """A graph node for a step."""
        return as_runnable(step, self.caller, name)

    def comment_node(self, name: str) -> RunnableLambda[Any, Update]:
        """The node in which a community comments."""
        persona = self.pool.persona_text(name, self.prompts)
        community = Community(name, persona, self.pool.run.comment_tokens)
        return self.node(comment(community, self.models, self.prompts), name)
