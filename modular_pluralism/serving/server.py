"""The server process: where it listens, and how it stops without cutting anybody off."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable

from modular_pluralism.errors import InputError
from modular_pluralism.listening import Server, listen, url_of
from modular_pluralism.local_names import is_loopback
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.serving.app import make_app
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.keys import VARIABLE, Keys
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.request_log import RequestLog
from modular_pluralism.types import Scoring, Voices

_LAST_WORDS = 5.0
"""Seconds for telling clients that their answers will not come."""


def serve(
    pool: Pool,
    prompts: PromptSet,
    *,
    scoring: Scoring,
    voice: Voices,
    keys: Keys,
    limits: Limits,
    host: str,
    port: int,
    grace: float,
    log: RequestLog,
    ready: Callable[[str, Catalogue], None],
) -> None:
    """Answer requests until SIGTERM or Ctrl-C; `ready` is told the server's address. Port 0 takes a free one; `grace`
    is how many seconds running answers get when the server is to stop.

    Raises:
        InputError: the address may not or cannot be listened at.
        PluralismError: the pool cannot be opened.
    """
    check_host(host, keys)
    catalogue = Catalogue(pool, prompts, scoring, limits, voice)
    with listen(host, port) as listener:
        gate = Gate(limits)
        app = make_app(catalogue, keys=keys, limits=limits, gate=gate, log=log)
        server = Server(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=round(_LAST_WORDS))
        _log_as_json(log)
        gc.collect()
        gc.freeze()  # looking through all that was loaded, again and again, would hold up everybody for a while
        hurry = asyncio.Event()
        serving = server.serve_until_signal(
            listener,
            ready=lambda: ready(f"{url_of(listener)}/v1", catalogue),
            close=lambda: _empty(gate, hurry, grace, log),
            hurry=hurry.set,
        )
        asyncio.run(serving)
        log.event("stopped")


def check_host(host: str, keys: Keys) -> None:
    """Raise InputError where the server would be open to others without a key."""
    if not keys and not is_loopback(host):
        raise InputError(
            f"{host} can be reached by others, so keys are needed: give --keys FILE or set {VARIABLE}, or listen "
            "at 127.0.0.1."
        )


async def _empty(gate: Gate, hurry: asyncio.Event, grace: float, log: RequestLog) -> None:
    """Let running answers end, for so many seconds or until a second signal. New requests are told meanwhile."""
    gate.close(grace)
    log.event("stopping", running=gate.running, waiting=gate.waiting, grace=grace)
    done = asyncio.create_task(gate.wait_until_empty(grace))
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({done, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not (done.done() and done.result()):
        gate.over.set()
        await gate.wait_until_empty(_LAST_WORDS)
    done.cancel()


def _log_as_json(log: RequestLog) -> None:
    """What uvicorn complains of goes into the same log."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.event("server", message=record.getMessage()[:500])

    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = ([Handler()] if name != "uvicorn.error" else []), name == "uvicorn.error"
        logger.setLevel(logging.WARNING)
