"""What a fork changes of the run that it comes from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from modular_pluralism.types import Comment


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AddedCommunity(_Plain):
    """A community that the run's pool does not have. `model` is one of the pool's [models.*] tables, `persona` a system
    prompt (None: none), and `prior` its weight, relative to those in the pool file."""

    model: str
    description: str
    persona: str | None = None
    prior: float = 1.0


class Edits(_Plain):
    """Everything is by name: `comments`, `personas` and `priors` by community, `prompts` by the prompt's name.

    `comments` are said instead of what the community's model would say; `prompts` are texts without a header;
    `personas` are system prompts; `priors` are relative to those in the pool file. `kept` are comments taken over as
    they are: those of communities that had failed before the step from which the fork goes on.
    """

    comments: dict[str, str] = Field(default_factory=dict)
    prompts: dict[str, str] = Field(default_factory=dict)
    personas: dict[str, str] = Field(default_factory=dict)
    priors: dict[str, float] = Field(default_factory=dict)
    dropped: list[str] = Field(default_factory=list)
    added: dict[str, AddedCommunity] = Field(default_factory=dict)
    kept: dict[str, Comment] = Field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is changed."""
        return self == Edits()


class Origin(_Plain):
    """Where a fork comes from: the `run`, and the superstep after which it goes on (None: from the start)."""

    run: str
    step: int | None = None
