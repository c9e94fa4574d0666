"""One engine for everybody in this process who asks for the same model with the same settings."""

from __future__ import annotations

import atexit
import os
import threading

from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.settings import EngineSettings

_engines: dict[EngineSettings, Engine] = {}
_lock = threading.Lock()


def shared_engine(settings: EngineSettings) -> Engine:
    """The running engine for these settings; loads the model on first use.

    Raises:
        ModelLoadError: the model or an adapter cannot be loaded.
    """
    # First without the lock, which is held for as long as another model takes to load.
    engine = _engines.get(settings)
    if engine is not None and not engine.closed:
        return engine
    with _lock:
        engine = _engines.get(settings)
        if engine is None or engine.closed:
            engine = _engines[settings] = Engine(settings)
        return engine


def close_engines() -> None:
    """Close every shared engine, which gives the memory of its weights back; also done at exit.

    Requests that are still running end with EngineClosedError. A model that is used again loads its engine again.

    Example:
        ```python
        from modular_pluralism import close_engines

        close_engines()
        ```
    """
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.close()


def _forget_engines() -> None:
    """In a forked child: the engines' threads stayed with the parent, so that a model is loaded anew where it is asked.

    What the parent has loaded is left alone, since freeing it is the parent's. The lock may have been held.
    """
    global _lock
    _lock = threading.Lock()
    _left_behind.extend(_engines.values())
    _engines.clear()


_left_behind: list[Engine] = []
"""Of the parent: kept, lest they are freed."""

atexit.register(close_engines)
if hasattr(os, "register_at_fork"):  # nothing is forked on Windows
    os.register_at_fork(after_in_child=_forget_engines)
