"""Tries a file in a process of its own before this one loads it.

llama.cpp ends its process at what it does not expect of a file: GGML_ASSERT, an exception in C++, a read beyond an
array. A file with which that happens is refused. One that has been tried is not tried again: for each there is an empty
file in the cache's folder, or where none can be written, this process remembers it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import llama_cpp

from modular_pluralism.errors import InputError, ModelLoadError
from modular_pluralism.home import cache_root
from modular_pluralism.llama import trial_process
from modular_pluralism.llama.gguf_parts import check_parts, parts
from modular_pluralism.llama.host import usable_cores

Use = Literal["text", "vectors", "vocabulary"]
"""What a file is loaded for."""

_SMALL = 16 << 20
"""Bytes up to which a file is known by all that it holds, and a larger one by its place and times."""
_SECONDS, _BYTES_A_SECOND = 120, 10 << 20
"""How long a trial may take, and longer by the size of a file, since a disk may be slow."""
_BUSY = 20
"""One in so many of these seconds may each core be busy with it."""
_DIED_AT = re.compile(r"[\w.-]+\.(?:c|h|m|cpp|cu|cuh|metal):\d+: (?P<said>.+)|what\(\):\s*(?P<thrown>.+)")
_lock = threading.Lock()
_tried: set[str] = set()


def try_first(path: Path, use: Use, adapters: Sequence[Path] = ()) -> None:
    """Let another process load a file, and adapters with it, unless that has been done.

    A file that is missing or that llama.cpp refuses is no matter here: whoever loads it tells of it.

    Raises:
        ModelLoadError: llama.cpp ends the process that loads it or does not come to an end, or no process can be
            started.
    """
    try:
        path = check_parts(path)
        known = [_name(use, path), *(_name(use, path, adapter) for adapter in adapters)]
        size = sum(part.stat().st_size for each in (path, *adapters) for part in parts(each))
    except (OSError, ModelLoadError):
        return
    with _lock:
        if all(map(_was_tried, known)):
            return
        if _try(path, use, adapters, _SECONDS + size // _BYTES_A_SECOND):
            for name in known:
                _remember(name)


def _try(path: Path, use: Use, adapters: Sequence[Path], seconds: int) -> bool:
    """Whether all went as it should; not where the file is refused."""
    numbers = [str(usable_cores()), str(1 + usable_cores() * seconds // _BUSY)]
    program = [sys.executable, "-P", trial_process.__file__, use, *numbers, str(path), *map(str, adapters)]
    paths = os.pathsep.join(filter(None, sys.path))
    try:
        # `run` ends the process when this one is interrupted.
        ended = subprocess.run(
            program,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=seconds,
            env={**os.environ, "PYTHONPATH": paths, "GGML_NO_BACKTRACE": "1"},
        )
    except subprocess.TimeoutExpired as stopped:
        raise _refused(path, adapters, stopped.stdout, f"comes to no end within {seconds} seconds") from None
    except (OSError, ValueError) as error:
        raise ModelLoadError(
            f"{path} cannot be tried in a process of its own before it is loaded ({error}); let this process start "
            f"{sys.executable}."
        ) from None
    if ended.returncode:
        raise _refused(path, adapters, ended.stdout, f"ends the process ({_last_words(ended)})")
    return ended.stdout.split()[-1:] == [b"done"]


def _refused(path: Path, adapters: Sequence[Path], printed: bytes | None, what: str) -> ModelLoadError:
    at = int(((printed or b"").split() or [b"0"])[-1])
    if at:
        return ModelLoadError(
            f"The adapter {adapters[at - 1]} is damaged or does not fit {path.name}: with it llama.cpp {what}. Use a "
            "complete adapter made for this base."
        )
    return ModelLoadError(
        f"{path} cannot be loaded: with it llama.cpp {what}. Use a complete GGUF of a model that this version of "
        "llama-cpp-python knows."
    )


def _last_words(ended: subprocess.CompletedProcess[bytes]) -> str:
    """Why a process ended: what llama.cpp said of it, or the signal and the last line of its log."""
    lines = [line.strip() for line in ended.stderr.decode("utf-8", "replace").splitlines() if line.strip(" .\t")]
    for line in reversed(lines):
        if found := _DIED_AT.search(line):
            return found["said"] or found["thrown"]
    try:
        how = signal.Signals(-ended.returncode).name
        if how == "SIGXCPU":
            return "SIGXCPU, since it would compute without end"
    except ValueError:
        how = f"exit code {ended.returncode}"
    return f"{how} after {lines[-1]!r}" if lines else how


def _name(use: Use, path: Path, adapter: Path | None = None) -> str:
    """What files, and the llama.cpp that tries them, are known by. Raises OSError where one cannot be read."""
    digest = hashlib.sha256(f"{use} {llama_cpp.__version__}".encode())
    for file in [*parts(path), *([] if adapter is None else [adapter])]:
        digest.update(b"".join(_identity(file)))
    return digest.hexdigest()


def _identity(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        told = os.fstat(opened.fileno())
        if told.st_size <= _SMALL:
            yield hashlib.file_digest(opened, "sha256").digest()
            return
    times = (told.st_size, told.st_mtime_ns, told.st_ctime_ns, told.st_ino, told.st_dev)
    yield os.fsencode(file.resolve()) + str(times).encode()


def _was_tried(name: str) -> bool:
    if name in _tried:
        return True
    with contextlib.suppress(OSError, InputError):
        return (_folder() / name).exists()
    return False


def _remember(name: str) -> None:
    _tried.add(name)
    with contextlib.suppress(OSError, InputError):
        _folder().mkdir(parents=True, exist_ok=True)
        (_folder() / name).touch()


def _folder() -> Path:
    return cache_root("what is known of model files") / "tried"
