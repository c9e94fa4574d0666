"""Opening a model behind an OpenAI-compatible endpoint, or behind several, through langchain-openai."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote, urlsplit

from langchain_core.language_models.chat_models import BaseChatModel
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient, Timeout
from pydantic import SecretStr

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.models.endpoints import Endpoints
from modular_pluralism.models.redaction import keep_secret
from modular_pluralism.models.remote_chat import RemoteChat
from modular_pluralism.models.remote_place import place, shown
from modular_pluralism.models.spread_chat import SpreadChat
from modular_pluralism.pool import RemoteModel, RunSettings

_CONNECT_SECONDS = 10.0


def open_remote(name: str, config: RemoteModel, run: RunSettings, endpoints: Endpoints) -> BaseChatModel:
    """The chat model for [models.NAME]; nothing is sent yet. `endpoints` is what is known of them so far.

    Raises:
        ModelLoadError: the variable with the API key is not set, or holds no usable key.
    """
    key = _key(name, config)
    timeout = _try_timeout(config, run)
    if len(config.addresses) < 2:
        (address,) = config.addresses or (None,)
        return _open_one(config, address, key, timeout, f"model {name!r} ({place(config)})")
    chats = {
        shown(address): _open_one(
            config, address, key, timeout, f"model {name!r} ({config.openai} at {shown(address)})"
        )
        for address in config.addresses
    }
    return SpreadChat(model=config.openai, chats=chats, endpoints=endpoints)


def _open_one(config: RemoteModel, address: str | None, key: str, timeout: float | Timeout, where: str) -> RemoteChat:
    login = _login(address)
    clients: dict[str, Any] = {
        # Not the one that langchain-openai shares between all models, whose connections outlive their event loop.
        "http_async_client": DefaultAsyncHttpxClient(auth=login),
    }
    if login is not None:
        clients["http_client"] = DefaultHttpxClient(auth=login)
    return RemoteChat(
        place=where,
        model=config.openai,
        # The password goes into the client's header: whatever shows the address (traces, logs, repr) shows no secret.
        base_url=None if address is None else shown(address),
        api_key=SecretStr(key),
        temperature=config.temperature,
        top_p=config.top_p,
        timeout=timeout,
        stream_chunk_timeout=timeout.read if isinstance(timeout, Timeout) else timeout,
        # Retries are ours (see calls.py): two layers of them would multiply.
        max_retries=0,
        stream_usage=True,
        use_responses_api=False,
        **clients,
    )


def _try_timeout(config: RemoteModel, run: RunSettings) -> float | Timeout:
    """How long one try may take.

    With several endpoints a little less than its share of the deadline, so that it is the try that ends and not the
    whole call: an endpoint that hangs is then known, and there is time to ask another one.
    """
    endpoints = len(config.addresses)
    if endpoints < 2:
        return config.try_seconds or run.deadline
    seconds = config.try_seconds or 0.9 * run.deadline / min(run.attempts, endpoints)
    return Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


def _login(address: str | None) -> tuple[str, str] | None:
    """User and password that the address holds."""
    parts = urlsplit(address or "")
    if parts.username is None and parts.password is None:
        return None
    password = unquote(parts.password or "")
    keep_secret(parts.password or "")
    keep_secret(password)
    return unquote(parts.username or ""), password


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
