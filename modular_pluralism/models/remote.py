"""Opening a model behind an OpenAI-compatible endpoint, through langchain-openai."""

from __future__ import annotations

import os
from base64 import b64encode
from functools import cache
from ssl import SSLContext
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx2
from openai import DefaultAsyncHttpxClient, DefaultHttpxClient
from pydantic import SecretStr

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.models.redaction import keep_secret, redact
from modular_pluralism.models.refusals import shortened
from modular_pluralism.models.remote_chat import RemoteChat
from modular_pluralism.models.remote_embeddings import RemoteEmbeddings
from modular_pluralism.models.reply_limit import ACCEPTED, abounding, bounding
from modular_pluralism.pool import RemoteModel


def open_remote(name: str, config: RemoteModel, place: str, timeout: float) -> RemoteChat:
    """The chat model for [models.NAME], which messages call `place`; nothing is sent yet. A try of a call may take
    `timeout` seconds.

    Raises:
        ModelLoadError: the variable with the API key is not set, or holds no usable key.
    """
    body = {
        **config.extra_body,
        **({"chat_template_kwargs": kwargs} if (kwargs := config.chat_template_kwargs) else {}),
    }
    return RemoteChat(
        place=place,
        model=config.openai,
        temperature=config.temperature,
        top_p=config.top_p,
        reasoning_effort=config.reasoning_effort,
        reasoning_tokens=config.reasoning_tokens,
        extra_body=body or None,
        stream_chunk_timeout=timeout,
        stream_usage=True,
        use_responses_api=False,
        # The clients below obey the variables of proxies: without this, langchain-openai warns that they do not.
        http_socket_options=(),
        **_connection(name, config, place, timeout),
    )


def open_remote_embeddings(name: str, config: RemoteModel, timeout: float) -> RemoteEmbeddings:
    """What gives the vectors of [models.NAME]. As `open_remote`."""
    connection = _connection(name, config, f"model {name!r}", timeout)
    return RemoteEmbeddings(model=config.openai, check_embedding_ctx_length=False, **connection)


def _connection(name: str, config: RemoteModel, place: str, timeout: float) -> dict[str, Any]:
    """What every client of an endpoint is made with."""
    key, headers, login = _key(name, config), _headers(name, config), _login(config.base_url)
    for variable in ("OPENAI_ORG_ID", "OPENAI_ORGANIZATION", "OPENAI_PROJECT_ID"):
        if not _can_be_sent(os.environ.get(variable, "")):
            raise ModelLoadError(
                f"[models.{name}] cannot be asked, since the environment variable {variable} holds characters that no "
                "header can have; set it again, or unset it."
            )
    try:
        # Headers go with the connection: whatever shows the model's settings (traces, logs, repr) shows no secret.
        shared: dict[str, Any] = {"auth": login, "verify": _trusted(), "headers": {**ACCEPTED, **headers}}
        if proxy := os.environ.get("OPENAI_PROXY"):
            shared["proxy"] = proxy
        # Not those that langchain-openai shares between all models, whose connections outlive their event loop.
        http_client = DefaultHttpxClient(**shared, event_hooks={"response": [bounding(place)]})
        http_async_client = DefaultAsyncHttpxClient(**shared, event_hooks={"response": [abounding(place)]})
    except Exception as error:  # whatever a variable holds: each library has its own complaint
        raise ModelLoadError(_no_client(name, error)) from None
    return {
        # The password goes into the client's header: whatever shows the address (traces, logs, repr) shows no secret.
        "base_url": config.address,
        "api_key": SecretStr(key),
        "timeout": timeout,
        # Retries are ours (see calls.py): two layers of them would multiply.
        "max_retries": 0,
        "http_client": http_client,
        "http_async_client": http_async_client,
        "openai_proxy": None,
    }


_OF_CLIENT = (
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "OPENAI_PROXY"),
)
"""Variables that HTTP clients obey; those of proxies also in small letters."""


def _can_be_sent(value: str) -> bool:
    """Whether a header can hold that."""
    return value.isascii() and (value.isprintable() or not value)


def _no_client(name: str, error: Exception) -> str:
    held = [each for each in _OF_CLIENT if os.environ.get(each)]
    held += [each.lower() for each in _OF_CLIENT if "PROXY" in each and os.environ.get(each.lower())]
    for each in held:
        if "PROXY" in each.upper():
            keep_secret(_password(os.environ[each]))
    which = f"check the environment variables {', '.join(held)}" if held else "check the Python installation"
    return (
        f"[models.{name}] cannot be opened, since no HTTP client could be made "
        f"({shortened(redact(str(error))) or type(error).__name__}); {which}."
    )


def _password(address: str) -> str:
    """The password in an address, however odd the address is."""
    return address.rpartition("@")[0].rpartition(":")[2]


def _headers(name: str, config: RemoteModel) -> dict[str, str]:
    headers = {}
    for header, variable in config.headers_env.items():
        value = os.environ.get(variable, "").strip()
        if not (value and _can_be_sent(value)):
            raise ModelLoadError(
                f"[models.{name}] takes the header {header} from the environment variable {variable}, which "
                f"{'holds characters that no header can have' if value else 'is not set'}; set it first."
            )
        keep_secret(value)
        headers[header] = value
    return headers


@cache
def _trusted() -> SSLContext:
    """The authorities that every client trusts: to read them takes longer than all else of opening a model."""
    return httpx2.create_ssl_context()


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
    if not _can_be_sent(key):
        raise ModelLoadError(
            f"[models.{name}] cannot use the API key in the environment variable {variable}, which holds characters "
            "that no key has; set it again."
        )
    keep_secret(key)
    return key
