"""A row of the table: what it is called, what it needs, and how it is measured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.peers import Peer, Peers
from benchmarks.result import Result


@dataclass(frozen=True)
class File:
    """A model file: "shipped" is the pool's own, "prepared" the one that is added on the command line."""

    label: Literal["shipped", "prepared"]
    path: Path

    def __str__(self) -> str:
        return f"{self.label} file {self.path.name}"


@dataclass(frozen=True)
class Settings:
    """How a row is measured."""

    file: File
    peers: Peers
    threads: int
    rounds: int
    quick: bool
    """Only whether everything works: a few tokens, and numbers that mean nothing."""

    def say(self, message: str) -> None:
        """Tell how it goes on."""
        print(f"  {message}", file=sys.stderr, flush=True)

    def few(self, usual: int, quick: int) -> int:
        """A number of things to measure with."""
        return quick if self.quick else usual


Files = Literal["each", "last", "none"]
"""Which model files a row is measured with: each, the last one that was given, or that there is none."""


@dataclass(frozen=True)
class Row:
    """`how` says, for the reader of the table, how it was kept fair; `measure` yields one result for each line."""

    name: str
    what: str
    how: str
    measure: Callable[[Settings], Iterator[Result]]
    needs: Peer | None
    files: Files = "last"
