"""Opening a model behind an OpenAI-compatible endpoint, through langchain-openai."""

from __future__ import annotations

import os
from base64 import b64encode
from functools import cache
from ssl import SSLContext
from urllib.parse import unquote, urlsplit

import httpx
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient
from pydantic import SecretStr

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.models.redaction import keep_secret
from modular_pluralism.models.remote_chat import RemoteChat
from modular_pluralism.pool import RemoteModel


def open_remote(name: str, config: RemoteModel, place: str, timeout: float) -> RemoteChat:
    """The chat model for [models.NAME], which messages call `place`; nothing is sent yet. A try of a call may take
    `timeout` seconds.

    Raises:
        ModelLoadError: the variable with the API key is not set, or holds no usable key.
    """
    key, login, trusted = _key(name, config), _login(config.base_url), _trusted()
    return RemoteChat(
        place=place,
        model=config.openai,
        # The password goes into the client's header: whatever shows the address (traces, logs, repr) shows no secret.
        base_url=config.address,
        api_key=SecretStr(key),
        temperature=config.temperature,
        top_p=config.top_p,
        timeout=timeout,
        stream_chunk_timeout=timeout,
        # Retries are ours (see calls.py): two layers of them would multiply.
        max_retries=0,
        stream_usage=True,
        use_responses_api=False,
        # Not those that langchain-openai shares between all models, whose connections outlive their event loop.
        http_client=DefaultHttpxClient(auth=login, verify=trusted),
        http_async_client=DefaultAsyncHttpxClient(auth=login, verify=trusted),
    )


@cache
def _trusted() -> SSLContext:
    """The authorities that every client trusts: to read them takes longer than all else of opening a model."""
    return httpx.create_ssl_context()


def _login(address: str | None) -> tuple[str, str] | None:
    """User and password that the address holds."""
    parts = urlsplit(address or "")
    if parts.username is None and parts.password is None:
        return None
    password = unquote(parts.password or "")
    keep_secret(parts.password or "")
    keep_secret(password)
    user = unquote(parts.username or "")
    keep_secret(b64encode(f"{user}:{password}".encode()).decode())  # as it stands in the header that is sent
    return user, password


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
