"""llama.cpp's own server, and requests for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from benchmarks.row import Settings
from benchmarks.server import server

SLOT_CONTEXT = 1024
"""Tokens that each of its slots has room for: more than any prompt and text here."""


@contextlib.contextmanager
def llama_server(settings: Settings, slots: int) -> Iterator[int]:
    """The port of a running llama-server with so many slots."""
    threads = str(settings.threads)
    command = [
        str(settings.peers.binary("llama-server")),
        *("--model", str(settings.file.path), "--host", "127.0.0.1"),
        *("--parallel", str(slots), "--ctx-size", str(slots * SLOT_CONTEXT)),
        *("--threads", threads, "--threads-batch", threads, "--flash-attn", "on"),
        # Prompts here are new: saving idle slots in memory would only cost it time.
        *("--cache-ram", "0", "--no-webui"),
    ]
    with server("llama-server", command, ready="/health") as port:
        yield port


def completion(tokens: tuple[int, ...] | list[int], **settings: Any) -> dict[str, Any]:
    """The body of a request to /completion for a prompt of tokens."""
    return {"prompt": list(tokens), "stream": False, **settings}
