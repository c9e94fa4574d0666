"""Opening the models that a pool names, each when it is first used."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from modular_pluralism.answering import given_to
from modular_pluralism.checked import checked
from modular_pluralism.errors import ModelLoadError, PoolError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.chat_model import ENGINE_SETTINGS, ChatLlama
from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.llama.job import Adapter
from modular_pluralism.model_tables import (
    EmbeddedModel,
    GivenModel,
    LangChainModel,
    ModelConfig,
    RemoteModel,
    without_password,
)
from modular_pluralism.models.answerer import AsChat, OwnPart
from modular_pluralism.models.engine_reader import EngineOptionReader
from modular_pluralism.models.option_reader import OptionReader
from modular_pluralism.models.reply_reader import NoOptionReader, ReplyOptionReader
from modular_pluralism.pool import Pool
from modular_pluralism.prepared.cache import prepared_file

T = TypeVar("T")


@runtime_checkable
class HasIdentity(Protocol):
    """A chat model that tells itself from others."""

    def pluralism_identity(self) -> list[Any]:
        """Its file or address, adapter and sampling, as plain values; no key. Equal for models that reply alike."""


@dataclass(frozen=True)
class PoolModel:
    """An opened model: how to chat with it, how to read option probabilities from it, and what messages call it.
    `own` is what the application has brought, where that is no chat model."""

    place: str
    chat: Runnable[Any, AIMessage]
    reader: OptionReader
    own: Runnable[Any, Any] | None = None

    @property
    def runnable(self) -> Runnable[Any, Any]:
        """What is asked for a text."""
        return self.chat if self.own is None else self.own

    @property
    def takes_schema(self) -> bool:
        """Whether its call setting `response_format` keeps a reply to a JSON schema."""
        # By name: importing OpenAI's client takes a third of the start of a command that needs none.
        return isinstance(self.chat, ChatLlama) or "BaseChatOpenAI" in {
            each.__name__ for each in type(self.chat).__mro__
        }


class PoolModels:
    """The models of a pool, each opened when it is first used; thread-safe.

    Embedded ones share one engine, and so their weights, wherever they can. Builders make one for themselves; give
    several graphs the same one, so that they share what is open.

    Args:
        pool: The pool.
        models: Your own LangChain chat models, or agents, in the place of the pool's [models.*], by name.
        download: Whether files that are not on this machine are fetched; otherwise a model without its file is an
            error.

    Raises:
        ModelLoadError: `models` has a name that the pool has not.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import Pool, PoolModels, build_overton, build_steerable

        pool = Pool.load("culture")
        models = PoolModels(pool, {"smollm2": FakeListChatModel(responses=["any LangChain chat model"])})
        models.check()  # finds a wrong path or an unset key before anything is asked
        graphs = [build_overton(pool, models=models).compile(), build_steerable(pool, models=models).compile()]
        ```
    """

    @checked
    def __init__(
        self, pool: Pool, models: Mapping[str, Runnable[Any, Any]] | None = None, *, download: bool = True
    ) -> None:
        self._pool = pool
        self._download = download
        self._models = dict(models or {})
        unknown = sorted(set(self._models) - set(pool.models))
        if unknown:
            raise ModelLoadError(f"The pool has no [models.{unknown[0]}]; it has {', '.join(pool.models)}.")
        brought = {name: config.given for name, config in pool.models.items() if isinstance(config, GivenModel)}
        self._given: dict[str, Runnable[Any, Any]] = {**brought, **self._models}
        self._takes_messages = {
            name: (given := self._given.get(community.model)) is None or given_to(given) != "question"
            for name, community in pool.communities.items()
        }
        # Remote models are opened for each event loop: their open connections belong to it, and die with it.
        self._opened: dict[tuple[asyncio.AbstractEventLoop | None, str, str | None, float], PoolModel] = {}
        self._files: dict[tuple[str, bool, bool], Path] = {}
        self._lock = threading.RLock()

    def base(self) -> PoolModel:
        """The base LLM.

        Raises:
            ModelLoadError: its file is missing, or the variable with its API key is not set.
        """
        return self._open(self._pool.base, None, 1.0)

    def community(self, name: str) -> PoolModel:
        """The model behind a community LM, with the community's adapter. Raises as `base` does."""
        community = self._pool.communities[name]
        if not self.takes_messages(name):
            raise _no_messages(self._pool, name, "ask it in a mode")
        return self._open(community.model, community.lora, community.lora_scale)

    def answerer(self, name: str) -> PoolModel | OwnPart:
        """What is asked for a community's comment: its model, or a part of the application's own that is asked with the
        question instead of messages. Raises as `base` does."""
        if self.takes_messages(name):
            return self.community(name)
        return OwnPart(f"community {name!r}", self._given[self._pool.communities[name].model])

    def takes_messages(self, name: str) -> bool:
        """Whether a community is asked with messages, so that it can vote, and chat."""
        return self._takes_messages[name]

    @property
    def given(self) -> Mapping[str, Runnable[Any, Any]]:
        """What the application has given in the place of [models.*], by name."""
        return self._given

    def check_votes(self, name: str) -> None:
        """Raise PoolError where a community has no model that could vote."""
        if not self.takes_messages(name):
            raise _no_messages(self._pool, name, 'choose the voice "comment"')

    def named(self, name: str) -> PoolModel:
        """The model of one [models.*] table, without any community's adapter. Raises as `base` does."""
        return self._open(name, None, 1.0)

    def check(self) -> None:
        """Open everything that the pool names, without loading weights. Raises as `base` does."""
        self.base()
        for name in self._pool.communities:
            self.answerer(name)

    def sampled(self, pool: Pool, sampling: Mapping[str, float], effort: str | None = None) -> PoolModels:
        """The models of `pool` opened once more, to draw otherwise, or to reason with another `effort`; they share
        these models' files, and so engines.

        Each takes of `sampling` what its table can have. Chat models that were given in a table's place stay as they
        are: they draw as whoever made them wants it.
        """
        drawing = {}
        for name, config in pool.models.items():
            update: dict[str, Any] = {key: sampling[key] for key in sampling if key in type(config).model_fields}
            if effort is not None:
                update |= self._of_effort(name, effort)
            drawing[name] = config.model_copy(update=update)
        models = PoolModels(pool.model_copy(update={"models": drawing}), self._models, download=self._download)
        models._files = self._files
        return models

    def _of_effort(self, name: str, effort: str) -> dict[str, Any]:
        """What a model's table says for a `reasoning_effort`."""
        if isinstance(self._pool.models[name], RemoteModel):
            return {"reasoning_effort": effort}
        chat = None if name in self._given else self.named(name).chat
        return {"thinking": chat.with_effort(effort).thinking} if isinstance(chat, ChatLlama) else {}

    def _open(self, name: str, lora: str | None, scale: float) -> PoolModel:
        loop = _this_loop() if self._is_remote(name) else None
        key = (loop, name, lora, scale)
        if found := self._opened.get(key):
            return found
        if not _may_open.get():
            raise _NotOpenError
        with self._lock:
            if key not in self._opened:
                for gone in [each for each in self._opened if each[0] is not None and each[0].is_closed()]:
                    del self._opened[gone]
                self._opened[key] = self._make(name, lora, scale)
            return self._opened[key]

    def _is_remote(self, name: str) -> bool:
        return name not in self._given and not isinstance(self._pool.models[name], EmbeddedModel)

    def _make(self, name: str, lora: str | None, scale: float) -> PoolModel:
        config = self._pool.models[name]
        if isinstance(config, GivenModel) or name in self._given:
            where = f"model {name!r}"
            if lora is not None:
                raise ModelLoadError(
                    f"The chat model given for [models.{name}] cannot add the adapter {lora} of a community; leave "
                    "lora out of the pool, or give no chat model for it."
                )
            return _given_model(self._given[name], where)
        if isinstance(config, LangChainModel):
            from modular_pluralism.models.langchain_provider import open_provider

            where = f"model {name!r} ({config.langchain})"
            provided = open_provider(name, config)
            return PoolModel(where, provided, ReplyOptionReader(provided, where))
        if not isinstance(config, EmbeddedModel):
            # Here, since importing OpenAI's client takes a third of the start of a command that needs none.
            from modular_pluralism.models.remote import open_remote

            where = f"model {name!r} ({config.openai} at {without_password(config.address) or 'OpenAI'})"
            chat = open_remote(name, config, where, config.try_seconds or self._pool.run.deadline)
            return PoolModel(where, chat, ReplyOptionReader(chat, where))
        if lora is not None:
            self._adapter_path(lora)  # before a large model is fetched for nothing
        llama = ChatLlama(
            gguf=self._file_of(config),
            adapters=self._adapters_of(config),
            adapter=None if lora is None else Adapter(self._adapter_path(lora), scale),
            timeout=self._pool.run.deadline,
            hardware=config.hardware,
            template_text=self._pool.template_text(name),
            **config.model_dump(exclude={"gguf", "prepared", "template_file", *Hardware.model_fields}),
        )
        return PoolModel(f"model {name!r}", llama, EngineOptionReader(llama))

    def _file_of(self, config: EmbeddedModel) -> Path:
        """The model's file, or the one prepared from it for this machine. Looked up once, so that all share an engine
        even if somebody prepares the model meanwhile."""
        key = (config.gguf, config.prepared, config.repeatable)
        if key not in self._files:
            original = find_gguf(config.gguf, self._pool.folder, download=self._download)
            prepared = prepared_file(original, exact=config.repeatable) if config.prepared else None
            self._files[key] = prepared or original
        return self._files[key]

    def _adapters_of(self, config: EmbeddedModel) -> tuple[Path, ...]:
        """Every adapter that some community adds to these weights: an engine loads them all at its start."""
        loras = (
            community.lora
            for community in self._pool.communities.values()
            if community.lora is not None and _shares_engine(self._pool.models[community.model], config)
        )
        return tuple(self._adapter_path(lora) for lora in dict.fromkeys(loras))

    def _adapter_path(self, lora: str) -> Path:
        try:
            return find_gguf(lora, self._pool.folder, download=self._download)
        except ModelLoadError as error:
            if any(each.lora == lora and each.peft for each in self._pool.communities.values()):
                raise ModelLoadError(
                    f"{error} `pluralism community import --pool {self._pool.name} --out DIR` makes it from the "
                    "published adapter, and writes a pool file that finds it."
                ) from error
            raise


_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("loop", default=None)
_may_open: ContextVar[bool] = ContextVar("may_open", default=True)


class _NotOpenError(Exception):
    """A model is not open, and must not be opened here."""


async def without_opening(work: Callable[[], T]) -> T:
    """What `work` returns, of which any models are open already; else it is begun anew in a thread, which opens them
    for this event loop: to fetch a file, to import a client or to read certificates would hold up all that the loop
    does."""
    token = _may_open.set(False)
    try:
        return work()
    except _NotOpenError:
        pass
    finally:
        _may_open.reset(token)
    loop, context = asyncio.get_running_loop(), copy_context()
    context.run(_loop.set, loop)
    return await loop.run_in_executor(None, context.run, work)


def _this_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread, or the one that it works for."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return _loop.get()


def _shares_engine(one: ModelConfig, other: EmbeddedModel) -> bool:
    """Whether two tables differ at most in how they sample."""
    keys = ("gguf", "prepared", *ENGINE_SETTINGS)
    return isinstance(one, EmbeddedModel) and all(getattr(one, key) == getattr(other, key) for key in keys)


def _given_model(answering: Runnable[Any, Any], place: str) -> PoolModel:
    """What the application has given, asked as a model."""
    if isinstance(answering, ChatLlama):
        return PoolModel(place, answering, EngineOptionReader(answering))
    if isinstance(answering, BaseChatModel):
        return PoolModel(place, answering, ReplyOptionReader(answering, place))
    given = given_to(answering)
    if given == "question":
        raise ModelLoadError(
            f"What is given for {place} takes no messages; give a chat model, or an agent whose state has messages."
        )
    return PoolModel(place, AsChat(answering, given, place), NoOptionReader(place), own=answering)


def _no_messages(pool: Pool, name: str, remedy: str) -> PoolError:
    return PoolError(
        f"pool {pool.name}: [communities.{name}] is asked with a question and not with messages, so it can only "
        f"comment; {remedy}, or give it a chat model, or an agent whose state has messages"
    )
