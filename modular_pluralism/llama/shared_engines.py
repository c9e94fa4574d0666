"""One engine for everybody in this process who asks for the same model with the same settings."""

from __future__ import annotations

import atexit
import threading

from modular_pluralism.llama.engine import Engine, EngineSettings

_engines: dict[EngineSettings, Engine] = {}
_lock = threading.Lock()


def shared_engine(settings: EngineSettings) -> Engine:
    """The running engine for these settings; loads the model on first use.

    Raises:
        ModelLoadError: the model or an adapter cannot be loaded.
    """
    with _lock:
        engine = _engines.get(settings)
        if engine is None or engine.closed:
            engine = _engines[settings] = Engine(settings)
        return engine


def close_engines() -> None:
    """Close every shared engine; requests still running end with EngineClosedError. Also done at exit."""
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.close()


atexit.register(close_engines)
