"""What messages call a model behind endpoints, and an endpoint's address without its secrets."""

from __future__ import annotations

from urllib.parse import urlsplit

from modular_pluralism.pool import RemoteModel

_SHOWN_ENDPOINTS = 3


def place(config: RemoteModel) -> str:
    """Where the model is, for messages; without a password that an address may hold."""
    addresses = [shown(each) for each in config.addresses]
    if not addresses:
        return f"{config.openai} at OpenAI"
    if len(addresses) > _SHOWN_ENDPOINTS:
        return f"{config.openai} at {addresses[0]} or one of {len(addresses) - 1} others"
    return f"{config.openai} at {' or '.join(addresses)}"


def shown(address: str) -> str:
    """The address of an endpoint without user, password and query."""
    parts = urlsplit(address)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"
