"""Models of any provider that LangChain knows, opened by its `init_chat_model` and `init_embeddings`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeGuard

from langchain_core.embeddings import Embeddings
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import SecretStr

from modular_pluralism.answering import with_tools
from modular_pluralism.errors import ModelLoadError
from modular_pluralism.model_tables import LangChainModel
from modular_pluralism.models.answerer import finished
from modular_pluralism.models.calls import describe
from modular_pluralism.models.redaction import keep_secret, keyless_message

_FIELDS = {
    "max_tokens": ("max_tokens", "max_output_tokens", "num_predict", "max_new_tokens"),
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "seed": ("seed", "random_seed"),
    "logprobs": ("logprobs",),
    "top_logprobs": ("top_logprobs",),
}
"""What providers' classes call the settings of a call. One that a class does not have cannot be asked of it."""


class ProviderChat(Runnable[Any, AIMessage]):
    """A provider's chat model, with the settings of each call under the names that its class has for them.

    Args:
        chat: The provider's chat model.
        identity: What tells it from others.
        tools: What `bind_tools` is told.
    """

    def __init__(self, chat: BaseChatModel, identity: list[Any], tools: Mapping[str, Any] | None = None) -> None:
        self._chat = chat
        self._identity = identity
        self._tools = tools

    def pluralism_identity(self) -> list[Any]:
        """See HasIdentity."""
        return self._identity

    def takes_logprobs(self) -> bool:
        """Whether it can be asked for log-probabilities."""
        return {"logprobs", "top_logprobs"} <= set(type(self._chat).model_fields)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **settings: Any) -> AIMessage:
        """See Runnable."""
        chat, more = self._set(settings)
        return keyless_message(finished(chat.invoke(input, config, **more)))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **settings: Any) -> AIMessage:
        """See Runnable."""
        chat, more = self._set(settings)
        return keyless_message(finished(await chat.ainvoke(input, config, **more)))

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None) -> ProviderChat:
        """The same with tools. Raises InputError where the provider's class takes none."""
        told: dict[str, Any] = {"tools": tools, "choice": tool_choice, "place": type(self._chat).__name__}
        with_tools(self._chat, **told)
        return ProviderChat(self._chat, self._identity, told)

    def leaves_out(self, settings: Iterable[str]) -> list[str]:
        """Those of the settings of a call that its class does not have."""
        return [name for name in settings if name in _FIELDS and _field(type(self._chat), name) is None]

    def _set(self, settings: dict[str, Any]) -> tuple[Runnable[Any, AIMessage], dict[str, Any]]:
        """The chat model with these settings, and those that are none of the model's own."""
        own = {
            field: value for name, value in settings.items() if (field := _field(type(self._chat), name)) is not None
        }
        more = {name: value for name, value in settings.items() if name not in _FIELDS}
        chat = self._chat.model_copy(update=own)
        return chat if self._tools is None else with_tools(chat, **self._tools), more

    def _get_ls_params(self, **settings: Any) -> Any:
        return self._chat._get_ls_params(**settings)


def takes_fields(chat: Runnable[Any, Any]) -> TypeGuard[BaseChatModel]:
    """Whether it is a chat model of a class that has the settings of a call as fields, as providers' classes do.
    OpenAI's takes them with each call, too."""
    is_openai = "BaseChatOpenAI" in {each.__name__ for each in type(chat).__mro__}
    return isinstance(chat, BaseChatModel) and not is_openai and _field(type(chat), "max_tokens") is not None


def _field(chat: type[BaseChatModel], setting: str) -> str | None:
    return next((name for name in _FIELDS.get(setting, ()) if name in chat.model_fields), None)


def open_provider(name: str, config: LangChainModel) -> ProviderChat:
    """The chat model for [models.NAME]; nothing is sent yet.

    Raises:
        ModelLoadError: a package is missing, or the provider's class refuses what it is given, such as no key.
    """
    given = {key: value for key in ("temperature", "top_p") if (value := getattr(config, key)) is not None}
    chat = _opened(name, config, "chat_models", "init_chat_model", model_provider=config.provider, **given)
    return ProviderChat(chat, ["langchain", config.model_dump(mode="json")])


def open_provider_embeddings(name: str, config: LangChainModel) -> Embeddings:
    """What gives the vectors of [models.NAME], where the provider has that. As `open_provider`."""
    embeddings: Embeddings = _opened(name, config, "embeddings", "init_embeddings", provider=config.provider)
    return embeddings


def _opened(name: str, config: LangChainModel, module: str, function: str, **given: Any) -> Any:
    """What a function of LangChain's opens."""
    keep_secret(os.environ.get(config.key_variable, "").strip())
    try:
        init: Callable[..., Any] = getattr(import_module(f"langchain.{module}"), function)
    except ImportError as error:
        raise ModelLoadError(
            f"[models.{name}] is opened by LangChain, which cannot be imported ({error}); run `pip install langchain`."
        ) from error
    try:
        opened = init(config.model, **given, **config.options)
    except ImportError as error:
        package = re.search(r"pip install (?:-\S+ )*([\w.-]+)", str(error))
        named = package[1] if package else f"langchain-{config.provider.replace('_', '-')}"
        raise ModelLoadError(
            f"[models.{name}] needs the package of {config.provider}, which cannot be imported; run `pip install "
            f"{named}`."
        ) from error
    except Exception as error:  # each provider's class has its own complaints
        raise ModelLoadError(
            f"[models.{name}] cannot be opened by {function} for {config.provider} ({describe(error)}); check "
            f"langchain, options and {config.key_variable}."
        ) from None
    for field in getattr(type(opened), "model_fields", ()):
        if isinstance(value := getattr(opened, field, None), SecretStr):
            keep_secret(value.get_secret_value())
    return opened
