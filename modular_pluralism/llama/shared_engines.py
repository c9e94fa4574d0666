"""One engine, and one embedder, for everybody in this process who asks for the same model with the same settings."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from modular_pluralism.errors import EngineClosedError
from modular_pluralism.llama.embedder import Embedder
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.settings import EngineSettings

Opened = TypeVar("Opened", Engine, Embedder)

_engines: dict[EngineSettings, Engine] = {}
_embedders: dict[EngineSettings, Embedder] = {}
_lock = threading.Lock()


def shared_engine(settings: EngineSettings) -> Engine:
    """The running engine for these settings; loads the model on first use.

    Raises:
        ModelLoadError: the model or an adapter cannot be loaded.
    """
    return _shared(_engines, settings, lambda: Engine(settings))


def shared_embedder(settings: EngineSettings) -> Embedder:
    """The embedder for these settings; at first it takes the weights of an engine of the same file and hardware that
    runs already, or loads them.

    Raises:
        ModelLoadError: the model cannot be loaded, or gives no vectors.
    """
    return _shared(_embedders, settings, lambda: Embedder(settings, _loaded(settings)))


def _shared(opened: dict[EngineSettings, Opened], settings: EngineSettings, make: Callable[[], Opened]) -> Opened:
    # First without the lock, which is held for as long as another model takes to load.
    found = opened.get(settings)
    if found is not None and not found.closed:
        return found
    with _lock:
        found = opened.get(settings)
        if found is None or found.closed:
            found = opened[settings] = make()
        return found


def _loaded(settings: EngineSettings) -> ModelFile | None:
    for others in (_engines, _embedders):
        for each, owner in others.items():
            if (each.gguf, each.hardware) == (settings.gguf, settings.hardware) and not owner.closed:
                with contextlib.suppress(EngineClosedError):  # it has ended meanwhile
                    return owner.model.share()
    return None


def close_embedder(settings: EngineSettings) -> None:
    """Close the embedder for these settings, if there is one."""
    with _lock:
        embedder = _embedders.pop(settings, None)
    if embedder is not None:
        embedder.close()


def close_engines() -> None:
    """Close every shared engine and embedder, which gives the memory of its weights back; also done at exit.

    Requests that are still running end with EngineClosedError. A model that is used again loads its engine again.

    Example:
        ```python
        from modular_pluralism import close_engines

        close_engines()
        ```
    """
    with _lock:
        opened: list[Engine | Embedder] = [*_engines.values(), *_embedders.values()]
        _engines.clear()
        _embedders.clear()
    for each in opened:
        each.close()


def _forget_engines() -> None:
    """In a forked child: the engines' threads stayed with the parent, so that a model is loaded anew where it is asked.

    What the parent has loaded is left alone, since freeing it is the parent's. The lock may have been held.
    """
    global _lock
    _lock = threading.Lock()
    _left_behind.extend([*_engines.values(), *_embedders.values()])
    _engines.clear()
    _embedders.clear()


_left_behind: list[Engine | Embedder] = []
"""Of the parent: kept, lest they are freed."""

atexit.register(close_engines)
if hasattr(os, "register_at_fork"):  # nothing is forked on Windows
    os.register_at_fork(after_in_child=_forget_engines)
