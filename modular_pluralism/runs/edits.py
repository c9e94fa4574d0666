"""What a fork changes of the run that it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field

from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.pool import Community, Pool
from modular_pluralism.prompts import Prompt, PromptSet
from modular_pluralism.types import Comment

V = TypeVar("V")


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
    kept: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing is changed."""
        return self == Edits()


class Origin(_Plain):
    """Where a fork comes from: the `run`, and the superstep after which it goes on (None: from the start)."""

    run: str
    step: int | None = None


class Edited(NamedTuple):
    """What a run is made of: the pool, the prompts, and the comments that are known before it."""

    pool: Pool
    prompts: PromptSet
    comments: dict[str, str | Comment]


def combined(earlier: Edits, later: Edits) -> Edits:
    """The edits of a fork of a fork: both, and the later one where they differ. What is kept is the later one's say."""
    gone = set(later.dropped)
    added = {**earlier.added, **later.added}
    return Edits(
        comments=_without({**earlier.comments, **later.comments}, gone),
        prompts={**earlier.prompts, **later.prompts},
        personas=_without({**earlier.personas, **later.personas}, gone),
        priors=_without({**earlier.priors, **later.priors}, gone),
        dropped=[*earlier.dropped, *(name for name in later.dropped if name not in earlier.added)],
        added=_without(added, gone),
        kept=later.kept,
    )


def apply_edits(pool: Pool, prompts: PromptSet, edits: Edits) -> Edited:
    """The pool and the prompts with the edits.

    Raises:
        InputError: an edit names what is not there, or leaves a pool that cannot be.
        PromptError: a prompt's text is unusable.
    """
    for name, community in edits.added.items():
        if name in pool.communities:
            raise InputError(f"The pool has a community {name} already; add the new one under another name.")
        if community.persona is not None and not community.persona.strip():
            raise InputError(f"The persona of {name} is empty; write it, or leave it out.")
    _check_known(edits.dropped, pool.communities, "dropped")
    left = {name: config for name, config in pool.communities.items() if name not in edits.dropped}
    left |= {
        name: Community(model=new.model, description=new.description, prior=new.prior)
        for name, new in edits.added.items()
    }
    for what in ("comments", "personas", "priors", "kept"):
        _check_known(getattr(edits, what), left, "edited")
    for name, text in edits.comments.items():
        if not text.strip():
            raise InputError(f"The comment of {name} is empty; write it, or drop the community.")
    changed = _checked(pool, left, edits.priors)
    personas = {**{name: new.persona for name, new in edits.added.items() if new.persona}, **edits.personas}
    texts = prompts.with_texts(edits.prompts, "the edited text").with_prompts(
        {_file(name): Prompt(name, "persona", (), 1, text, "the edited persona") for name, text in personas.items()}
    )
    known: dict[str, str | Comment] = {name: cast(Comment, comment) for name, comment in edits.kept.items()}
    return Edited(_with_personas(changed, personas), texts, {**known, **edits.comments})


def _checked(pool: Pool, communities: Mapping[str, Community], priors: Mapping[str, float]) -> Pool:
    """The pool with these communities, checked as a pool file is."""
    tables: dict[str, Any] = {
        "base": pool.base,
        "models": pool.models,
        "run": pool.run,
        "name": pool.name,
        "folder": pool.folder,
        "priors_by_attribute": _edited_tables(pool.priors_tables(communities), priors),
    }
    try:
        of_each = {
            name: Community(**{**config.model_dump(), "prior": float(priors.get(name, config.prior))})
            for name, config in communities.items()
        }
        return Pool(**tables, communities=of_each)
    except PoolError as error:
        raise InputError(f"The edits leave no usable pool: {error}; change them.") from error


def _edited_tables(
    tables: Mapping[str, Mapping[str, float]], priors: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """The priors by attribute with the edited ones in each table, or else an edit would change nothing there."""
    edited = {name: float(prior) for name, prior in priors.items()}
    return {attribute: {**table, **edited} for attribute, table in tables.items()}


def _with_personas(pool: Pool, personas: Mapping[str, str]) -> Pool:
    communities = {
        name: config.model_copy(update={"persona": _file(name)}) if name in personas else config
        for name, config in pool.communities.items()
    }
    return pool.unchecked(communities=communities)  # the personas stand in the prompts, and in no file


def _file(community: str) -> str:
    """A name that no persona beside a pool file has."""
    return f"{community}.edited in a fork.md"


def _check_known(names: Iterable[str], communities: Mapping[str, object], what: str) -> None:
    for name in names:
        if name not in communities:
            raise InputError(f"There is no community {name} to be {what}; there are {', '.join(communities)}.")


def _without(values: Mapping[str, V], names: set[str]) -> dict[str, V]:
    return {name: value for name, value in values.items() if name not in names}
