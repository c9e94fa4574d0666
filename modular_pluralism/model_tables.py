"""The kinds of models that a pool may name: one table each, which its key tells from the others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Self, cast, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    field_serializer,
    field_validator,
    model_validator,
)

from modular_pluralism.errors import PoolError
from modular_pluralism.gguf_names import form_of
from modular_pluralism.hardware import Hardware
from modular_pluralism.table import Table, without_password
from modular_pluralism.table import Text as Text

if TYPE_CHECKING:
    from modular_pluralism.answering import Given

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_OF_EVERY_TEMPLATE = {"messages", "add_generation_prompt", "bos_token", "eos_token", "raise_exception"}
"""What a chat template is given in any case."""

_INT32 = 2**31 - 1  # llama.cpp takes these numbers as 32-bit integers


def one_of(names: Iterable[str], word: str = "or") -> str:
    """The names as a sentence has them."""
    *first, last = names
    return f"{', '.join(first)} {word} {last}" if first else last


def _checked_path(path: str) -> str:
    if not path.isprintable():
        raise ValueError("must be a path without control characters")
    return path


FilePath = Annotated[Text, AfterValidator(_checked_path)]
Probability = Annotated[float, Field(gt=0, le=1)]
Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=_INT32)]


def _none_for_default(value: object) -> object:
    return None if value == "default" else value


class EmbeddedModel(Hardware):
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

    gguf: FilePath
    context: Annotated[int, Field(ge=64, le=_INT32)] = 2048
    memory: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    queue: Count | None = None
    repeatable: bool = False
    slots: Annotated[int, Field(ge=1, le=256)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    temperature: Temperature = 0.7
    top_p: Probability = 0.95
    top_k: Annotated[int, Field(ge=0, le=_INT32)] = 40
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.05
    template: bool = True
    prepared: bool = True
    # Left out of what is dumped where they say nothing: pools of runs that are kept are compared with it.
    template_file: Annotated[FilePath | None, Field(exclude_if=lambda file: file is None)] = None
    template_kwargs: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=lambda given: not given)
    thinking: Annotated[Literal["off", "on"] | Count, Field(exclude_if=lambda wanted: wanted == "off")] = "off"

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
        if (form := form_of(gguf)) is not None:
            raise ValueError(f"must read {form}")
        return gguf


class RemoteModel(Table):
    """A model behind an OpenAI-compatible endpoint.

    `openai` is the model's id there, `base_url` the endpoint's address (None for OpenAI itself), and `api_key_env` the
    name of the environment variable that holds the key, which is read when the model is opened. `try_seconds` limits
    one try of a call (default: the run's deadline). `temperature` and `top_p` are not sent where they are None, which a
    pool file writes as "default". `reasoning_effort` and `chat_template_kwargs` go with every request, and so does what
    `extra_body` holds; `reasoning_tokens` are added to the limit of every text, for reasoning. `headers_env` names
    further headers, and for each the environment variable with its value. docs/providers.md says what whom takes.
    """

    openai: Text
    base_url: str | None = None
    api_key_env: str | None = None
    temperature: Annotated[Temperature | None, BeforeValidator(_none_for_default)] = 0.7
    top_p: Annotated[Probability | None, BeforeValidator(_none_for_default)] = 1.0
    try_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    # Left out of what is dumped where they say nothing: pools of runs that are kept are compared with it.
    reasoning_effort: Annotated[Text | None, Field(exclude_if=lambda effort: effort is None)] = None
    reasoning_tokens: Annotated[int, Field(ge=0, le=_INT32, exclude_if=lambda tokens: tokens == 0)] = 0
    chat_template_kwargs: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda table: not table)
    extra_body: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda table: not table)
    headers_env: dict[str, str] = Field(default_factory=dict, exclude_if=lambda table: not table)

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

    @field_validator("extra_body", "chat_template_kwargs")
    @classmethod
    def _check_is_json(cls, sent: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(sent, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise ValueError("must hold what JSON can: texts, finite numbers, true, false, lists and tables") from None
        return sent

    @field_validator("api_key_env")
    @classmethod
    def _check_api_key_env(cls, name: str | None) -> str | None:
        if name is not None and not _VARIABLE_NAME.fullmatch(name):
            raise ValueError("must be the name of an environment variable such as OPENAI_API_KEY, never the key itself")
        return name


class LangChainModel(Table):
    """A model of any provider that LangChain's `init_chat_model` opens.

    Args:
        langchain: `PROVIDER:MODEL`, such as `anthropic:claude-sonnet-4-5`. `langchain` and the provider's package
            have to be installed; its key stands in the provider's own environment variable.
        temperature: Not sent where it is None, which a pool file writes as "default".
        top_p: As `temperature`.
        options: What else the provider's class takes, such as `max_retries` or `base_url`; no keys.
    """

    langchain: Text
    temperature: Annotated[Temperature | None, BeforeValidator(_none_for_default)] = 0.7
    top_p: Annotated[Probability | None, BeforeValidator(_none_for_default)] = None
    options: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda table: not table)

    @property
    def provider(self) -> str:
        """The provider's name."""
        return self.langchain.partition(":")[0]

    @property
    def model(self) -> str:
        """The model's name there."""
        return self.langchain.partition(":")[2]

    @property
    def key_variable(self) -> str:
        """The environment variable from which the provider's package takes its key."""
        return _key_variable(self.provider)

    @field_validator("langchain")
    @classmethod
    def _check_langchain(cls, langchain: str) -> str:
        if not _PROVIDER_MODEL.fullmatch(langchain):
            raise ValueError("must read 'PROVIDER:MODEL', such as 'anthropic:claude-sonnet-4-5'")
        return langchain

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if secret := _secret_key(self.options):
            raise ValueError(
                f"options must not hold {secret}, since a pool is no place for a key; remove it, and set the "
                f"environment variable {self.key_variable}"
            )
        for name in ("model", "model_provider", "temperature", "top_p"):
            if name in self.options:
                key = name if name in type(self).model_fields else "langchain"
                raise ValueError(f"options must not hold {name}; write it as the table's own key {key}")
        return self

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """An address among the options may hold a password, which is not shown."""
        for key, value in super().__repr_args__():
            yield key, list(value) if key == "options" else value


_PROVIDER_MODEL = re.compile(r"[a-z][a-z0-9_]*:[!-~]+")
_SECRET_KEY = re.compile(r"(?i).*((api|access|private)[_-]?key|secret|passw|authorization|credential).*|(.*[_-])?token")
_KEY_VARIABLES = {
    "google_genai": "GOOGLE_API_KEY",
    "google_vertexai": "GOOGLE_APPLICATION_CREDENTIALS",
    "google_anthropic_vertex": "GOOGLE_APPLICATION_CREDENTIALS",
    "mistralai": "MISTRAL_API_KEY",
    "huggingface": "HUGGINGFACEHUB_API_TOKEN",
    "bedrock": "AWS_SECRET_ACCESS_KEY",
    "bedrock_converse": "AWS_SECRET_ACCESS_KEY",
    "perplexity": "PPLX_API_KEY",
    "ibm": "WATSONX_APIKEY",
}
"""Those that are not called as the provider is."""


def _key_variable(provider: str) -> str:
    return _KEY_VARIABLES.get(provider, f"{provider.upper()}_API_KEY")


def _secret_key(options: object) -> str | None:
    """The first name, at any depth, under which a secret would stand, or beside which: in a pair, or as a "name"."""
    if isinstance(options, Mapping):
        told = next((options[key] for key in ("name", "key") if isinstance(options.get(key), str)), "")
        names, values = [*options, told], list(options.values())
    elif isinstance(options, Sequence | Set) and not isinstance(options, str | bytes):
        values = list(options)
        names = values[:1] if len(values) == 2 and isinstance(values[0], str | bytes) else []
    else:
        return None
    found = (str(name) if _SECRET_KEY.fullmatch(str(name)) else None for name in names)
    return next(filter(None, (*found, *map(_secret_key, values))), None)


class GivenModel(Table):
    """What an application gives in the place of a table: a LangChain chat model, or anything else that answers.

    It lives in this process alone. What is dumped of it, and shown, is the name of its class.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    given: Any

    @property
    def asked_with(self) -> Given:
        """What it is asked with."""
        from modular_pluralism.answering import given_to  # a pool that is read from a file needs no LangChain

        return given_to(self.given)

    @field_serializer("given")
    def _class_name(self, given: object) -> str:
        return f"{type(given).__module__}.{type(given).__qualname__}"

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """An object may hold a key, which is not shown."""
        yield "given", type(self.given).__name__

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy asks the same object."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refused: what is open here is not open in another process."""
        raise PoolError(
            f"a pool that holds a {type(self.given).__name__} of this process cannot be handed to another one; name "
            "the model in a pool file, or make the pool there"
        )


ModelConfig = (
    Annotated[EmbeddedModel, Tag("gguf")]
    | Annotated[RemoteModel, Tag("openai")]
    | Annotated[LangChainModel, Tag("langchain")]
    | Annotated[GivenModel, Tag("given")]
)
"""One [models.*] table. A kind's tag is the key that only its table has; a new kind is added here."""

KINDS: Mapping[str, type[Table]] = {get_args(choice)[1].tag: get_args(choice)[0] for choice in get_args(ModelConfig)}
"""The kinds of models by the key that tells them apart."""

FILE_KINDS = tuple(kind for kind in KINDS if kind != "given")
"""Those that a file may have."""


def kinds_in(table: object) -> list[str]:
    """The kinds of models that a table may be of, by its keys: exactly one in one that is right."""
    return [kind for kind in FILE_KINDS if isinstance(table, Mapping) and kind in table]


def as_model(value: object) -> ModelConfig | None:
    """A table as it is, and a table for anything else that answers; None where it does not answer."""
    if isinstance(value, tuple(KINDS.values())):
        return cast(ModelConfig, value)
    if not (callable(value) or hasattr(value, "invoke")):
        return None
    from modular_pluralism.answering import as_answering

    answering = as_answering(value)
    return None if answering is None else GivenModel(given=answering)


def _kind(value: object) -> str | None:
    """Which kind of model a table describes, or None where that is not clear."""
    for kind, table in KINDS.items():
        if isinstance(value, table):
            return kind
    kinds = kinds_in(value)
    return kinds[0] if len(kinds) == 1 else None


AnyModel = Annotated[
    ModelConfig,
    Discriminator(
        _kind, custom_error_type="kind", custom_error_message=f"must have exactly one of {one_of(FILE_KINDS, 'and')}"
    ),
]
"""A [models.*] table as it is read."""


def _is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a malformed IPv6 address or port
        return False
