"""Opening the models that a pool names, each when it is first used."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from langchain_core.embeddings import Embeddings
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable

from modular_pluralism.answering import given_to, with_tools, within
from modular_pluralism.checked import checked
from modular_pluralism.errors import ModelLoadError, PoolError
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.chat_model import ENGINE_SETTINGS, ChatLlama
from modular_pluralism.llama.embeddings import LlamaEmbeddings
from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.llama.job import Adapter
from modular_pluralism.model_tables import (
    EmbeddedModel,
    GivenModel,
    LangChainModel,
    ModelConfig,
    RemoteModel,
)
from modular_pluralism.models.answerer import AsChat, OwnPart
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.engine_reader import EngineOptionReader
from modular_pluralism.models.langchain_provider import ProviderChat, open_provider, takes_fields
from modular_pluralism.models.option_reader import OptionReader
from modular_pluralism.models.reply_reader import NoOptionReader, ReplyOptionReader
from modular_pluralism.pool import LEXICAL, Pool
from modular_pluralism.prepared.cache import prepared_file
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.record_file import RecordFile
from modular_pluralism.records.similarity import Dense, Gate, Lexical, Similarity
from modular_pluralism.table import without_password
from modular_pluralism.types import Voice, Voices

T = TypeVar("T")


@runtime_checkable
class HasIdentity(Protocol):
    """A chat model that tells itself from others."""

    def pluralism_identity(self) -> list[Any]:
        """Its file or address, adapter and sampling, as plain values; no key. Equal for models that reply alike."""


@dataclass(frozen=True)
class PoolModel:
    """An opened model: how to chat with it, how to read option probabilities from it, and what messages call it.
    `own` is what the application has brought, where that is not itself what is asked."""

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

    def with_tools(self, tools: Sequence[Mapping[str, Any]], choice: Any) -> Runnable[Any, AIMessage]:
        """The chat model with OpenAI's `tools` and `tool_choice`.

        Raises:
            InputError: it takes none. (An embedded one whose weights are not loaded says so at its call.)
        """
        bound = with_tools(self.chat, tools, choice, self.place)
        if isinstance(self.chat, ChatLlama) and self.chat.loaded:
            self.chat.check_tools(tools, choice)
        return bound

    def leaves_out(self, settings: Iterable[str]) -> list[str]:
        """Those of the settings of a call that it cannot be given."""
        ask: Callable[[Iterable[str]], list[str]] | None = getattr(self.chat, "leaves_out", None)
        return [] if ask is None else ask(settings)


_Loop: TypeAlias = asyncio.AbstractEventLoop | None
"""Remote models are opened for each event loop: their open connections belong to it, and die with it."""


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
        self._opened: dict[tuple[_Loop, str, str | None, float], PoolModel] = {}
        self._embeddings: dict[tuple[_Loop, str], Embeddings] = {}
        self._files: dict[tuple[str, bool, bool], Path] = {}
        self._takes_messages = {
            name: (given := self._given.get(community.model)) is None or given_to(given) != "question"
            for name, community in pool.communities.items()
        }
        self._records: dict[str, RecordFile] = {}
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

    def record(self, community: str) -> CommunityRecord:
        """The record of a community, as its file is now. Where reading or searching it takes a while, who works on an
        event loop is sent into a thread; see `without_opening`.

        Raises:
            PoolError: it has none.
            TrainingDataError: the file is missing, or holds no survey answers.
            ModelLoadError: what its texts are compared with is not there.
        """
        file = self._records.get(community)
        if not _may_open.get() and (file is None or file.holds_up()):
            raise _NotOpenError
        return (file or self._record_file(community)).record()

    def _record_file(self, community: str) -> RecordFile:
        with self._lock:
            if community not in self._records:
                path = self._pool.answers_file(community)
                if path is None:
                    raise no_record(self._pool, community)
                self._records[community] = RecordFile(path, self.record_similarity())
            return self._records[community]

    def record_similarity(self) -> Similarity:
        """What the texts of records are compared with. Raises as `named` does."""
        run = self._pool.run
        gate = None if run.record_gate is None else Gate(*run.record_gate)
        if run.record_similarity == LEXICAL:
            return Lexical(gate)
        return Dense(self.embeddings(run.record_similarity), f"model {run.record_similarity}", gate)

    def named(self, name: str) -> PoolModel:
        """The model of one [models.*] table, without any community's adapter. Raises as `base` does."""
        return self._open(name, None, 1.0)

    def embeddings(self, name: str) -> Embeddings:
        """What gives the vectors of texts of one [models.*] table, whether it is an embedding model or writes text.

        Args:
            name: The table's name.

        Returns:
            LlamaEmbeddings for a `gguf`, which is loaded when it is first asked; for `openai` the endpoint's, and for
            `langchain` the provider's, with the retries and the deadline of the pool's [run] table.

        Raises:
            ModelLoadError: there is no such table, its file is missing, the variable with its API key is not set, or
                what it holds gives no vectors.

        Example:
            ```python
            from modular_pluralism import Pool, PoolModels

            embeddings = PoolModels(Pool.load("culture")).embeddings("smollm2")
            print(len(embeddings.embed_query("Cities without cars")))
            ```
        """
        if name not in self._pool.models:
            raise ModelLoadError(f"The pool has no [models.{name}]; it has {', '.join(self._pool.models)}.")
        vectors = self._vectors(name)
        if isinstance(vectors, LlamaEmbeddings):
            return vectors
        from modular_pluralism.models.remote_embeddings import CalledEmbeddings

        caller = Caller(attempts=self._pool.run.attempts, deadline=self._pool.run.deadline)
        config: Any = self._pool.models[name]  # of an endpoint or a provider, or else it has no such vectors
        return CalledEmbeddings(partial(self._vectors, name), _where(name, config), caller)

    def _vectors(self, name: str) -> Embeddings:
        """What gives a table's vectors on this event loop."""
        key = (self._loop_of(name), name)
        # Made without the lock: the file may have to be fetched, and others are to go on meanwhile.
        made = self._embeddings.get(key) or self._make_embeddings(name)
        with self._lock:
            self._forget_closed_loops()
            return self._embeddings.setdefault(key, made)

    def _make_embeddings(self, name: str) -> Embeddings:
        config, given = self._pool.models[name], self._given.get(name)
        if isinstance(given, ChatLlama):
            settings = given.engine_settings
            return LlamaEmbeddings(**{key: getattr(settings, key) for key in LlamaEmbeddings.model_fields})
        if given is not None or isinstance(config, GivenModel):
            raise ModelLoadError(
                f"What is given for [models.{name}] answers, and gives no vectors; name a model with gguf, openai or "
                "langchain."
            )
        if isinstance(config, LangChainModel):
            from modular_pluralism.models.langchain_provider import open_provider_embeddings

            return open_provider_embeddings(name, config)
        if isinstance(config, EmbeddedModel):
            file, threads = self._file_of(config), config.threads
            return LlamaEmbeddings(gguf=file, context=config.context, threads=threads, hardware=config.hardware)
        from modular_pluralism.models.remote import open_remote_embeddings

        return open_remote_embeddings(name, config, config.try_seconds or self._pool.run.deadline)

    def check(self, voice: Voices = "comment") -> None:
        """Find everything that the pool names, without loading weights; where communities are heard by their records
        alone, those. Raises as `base` does, and PoolError where a record's file is missing."""
        for name in self._pool.communities:
            path = self._pool.answers_file(name)
            if path is not None and not path.is_file():
                raise PoolError(
                    f"pool {self._pool.name}: [communities.{name}] answers: there is no file {path}; check the path"
                )
        if voice == "record":
            return
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
        key = (self._loop_of(name), name, lora, scale)
        if found := self._opened.get(key):
            return found
        if not _may_open.get():
            raise _NotOpenError
        with self._lock:
            if key not in self._opened:
                self._forget_closed_loops()
                self._opened[key] = self._make(name, lora, scale)
            return self._opened[key]

    def _loop_of(self, name: str) -> _Loop:
        return _this_loop() if self._is_remote(name) else None

    def _forget_closed_loops(self) -> None:
        self._opened = {key: kept for key, kept in self._opened.items() if _is_open(key[0])}
        self._embeddings = {key: kept for key, kept in self._embeddings.items() if _is_open(key[0])}

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
            provided, where = open_provider(name, config), _where(name, config)
            return PoolModel(where, provided, ReplyOptionReader(provided, where))
        if not isinstance(config, EmbeddedModel):
            # Here, since importing OpenAI's client takes a third of the start of a command that needs none.
            from modular_pluralism.models.remote import open_remote

            where = _where(name, config)
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


def _where(name: str, config: LangChainModel | RemoteModel) -> str:
    """What messages call it."""
    if isinstance(config, LangChainModel):
        return f"model {name!r} ({config.langchain})"
    return f"model {name!r} ({config.openai} at {without_password(config.address) or 'OpenAI'})"


_loop: ContextVar[asyncio.AbstractEventLoop | None] = ContextVar("loop", default=None)
_may_open: ContextVar[bool] = ContextVar("may_open", default=True)


class _NotOpenError(Exception):
    """A model is not open, and must not be opened here."""


async def without_opening(work: Callable[[], T]) -> T:
    """What `work` returns, of which any models are open already; else it is begun anew in a thread, which opens them
    for this event loop: to fetch a file, to import a client, to read certificates, or to embed a question that a record
    is searched for would hold up all that the loop does."""
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


def _is_open(loop: _Loop) -> bool:
    return loop is None or not loop.is_closed()


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
    fitted = within(answering, _fitted)
    if isinstance(answering, BaseChatModel):
        own = None if fitted is answering else answering
        return PoolModel(place, fitted, ReplyOptionReader(fitted, place), own=own)
    given = given_to(answering)
    if given == "question":
        raise ModelLoadError(
            f"What is given for {place} takes no messages; give a chat model, or an agent whose state has messages."
        )
    return PoolModel(place, AsChat(fitted, given, place), NoOptionReader(place), own=answering)


def _fitted(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """A provider's chat model, which is asked with what its class has; all else as it is."""
    return ProviderChat(model, [type(model).__name__]) if takes_fields(model) else model


def no_record(pool: Pool, community: str) -> PoolError:
    """What is said where a community is to be heard by the record that it has not."""
    return PoolError(
        f'pool {pool.name}: [communities.{community}] has no record for the voice "record"; add a line \'answers = '
        "...' with the name of a survey file, or choose another voice"
    )


def check_records(pool: Pool, communities: Sequence[str], voices: Sequence[Voice]) -> None:
    """Raise PoolError where one of these communities of the pool would not be heard by any of the voices, or nobody by
    a record."""
    without = [name for name in communities if pool.answers_file(name) is None]
    if "record" in voices and without and (len(voices) == 1 or len(without) == len(communities)):
        raise no_record(pool, without[0])


def _no_messages(pool: Pool, name: str, remedy: str) -> PoolError:
    return PoolError(
        f"pool {pool.name}: [communities.{name}] is asked with a question and not with messages, so it can only "
        f"comment; {remedy}, or give it a chat model, or an agent whose state has messages"
    )
