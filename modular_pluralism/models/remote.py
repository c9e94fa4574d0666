"""Opening a model behind an OpenAI-compatible endpoint, through langchain-openai."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_openai import ChatOpenAI
from openai import DefaultAsyncHttpxClient
from pydantic import SecretStr

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.models.redaction import keep_secret
from modular_pluralism.pool import RemoteModel


def open_remote(name: str, config: RemoteModel, timeout: float) -> BaseChatModel:
    """The chat model for [models.NAME]; nothing is sent yet.

    Raises:
        ModelLoadError: the variable with the API key is not set, or holds no usable key.
    """
    if config.base_url and (password := urlsplit(config.base_url).password):
        keep_secret(password)
        keep_secret(unquote(password))
    return ChatOpenAI(
        model=config.openai,
        base_url=config.base_url,
        api_key=SecretStr(_key(name, config)),
        temperature=config.temperature,
        top_p=config.top_p,
        timeout=timeout,
        # Not the one that langchain-openai shares between all models, whose connections outlive their event loop.
        http_async_client=DefaultAsyncHttpxClient(),
        # Retries are ours (see calls.py): two layers of them would multiply.
        max_retries=0,
        stream_usage=True,
        use_responses_api=False,
    )


def place(config: RemoteModel) -> str:
    """Where the model is, for messages; without a password that the address may hold."""
    if config.base_url is None:
        return f"{config.openai} at OpenAI"
    parts = urlsplit(config.base_url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return f"{config.openai} at {parts.scheme}://{host}{port}{parts.path}"


def _key(name: str, config: RemoteModel) -> str:
    variable = config.api_key_env or (None if config.base_url else "OPENAI_API_KEY")
    if variable is None:
        return "none"  # local servers want no key, the client wants some
    key = os.environ.get(variable, "").strip()  # a line end at the end would be shown by the client's complaint
    if not key:
        raise ModelLoadError(
            f"[models.{name}] needs an API key in the environment variable {variable}, which is not set; "
            f"run `export {variable}=...` first."
        )
    if not (key.isascii() and key.isprintable()):
        raise ModelLoadError(
            f"[models.{name}] cannot use the API key in the environment variable {variable}, which holds characters "
            "that no key has; set it again."
        )
    keep_secret(key)
    return key
