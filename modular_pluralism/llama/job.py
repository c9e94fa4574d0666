"""What the engine works on: a job, made of tracks, each a row of tokens read into one sequence of the KV cache."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from modular_pluralism.llama.sampling import Row

_numbers = itertools.count()


class Adapter(NamedTuple):
    """A LoRA adapter and how strongly it is added to the weights."""

    path: Path
    scale: float = 1.0


@dataclass(eq=False)
class Track:
    """Tokens for one sequence. `read` of them are in the KV cache; `first_output` is the first position whose
    logits are wanted (those of every later position are wanted, too)."""

    job: Job
    tokens: list[int]
    first_output: int
    read: int = 0
    sequence: int = -1
    borrowed: bool = False
    """Runs on its trunk's sequence, which is cut back afterwards, because no other sequence was free."""

    @property
    def left(self) -> int:
        """Tokens still to be read."""
        return len(self.tokens) - self.read


class Job(Protocol):
    """One request inside the engine. All methods run on the engine's thread."""

    adapter: Adapter | None
    control: JobControl

    def cells(self) -> int:
        """The most KV-cache cells that the job will ever hold at a time."""

    def begin(self) -> Track:
        """The first track."""

    def on_logits(self, track: Track, position: int, logits: Row) -> None:
        """Logits after the token at `position`; `logits` is only valid during the call."""

    def branches(self) -> list[Track]:
        """Tracks that go on from the end of the first one, asked for once that has been read whole."""

    def shared_tokens(self) -> int:
        """Tokens that the job asked to have read and that sharing the first track saves."""

    def finish(self) -> None:
        """Every track has been read: deliver the result."""

    def fail(self, error: Exception) -> None:
        """Deliver an error instead; may be called at any time, once."""


@dataclass(eq=False)
class JobControl:
    """The part of a job that its caller may touch, from any thread."""

    deadline: float | None = None
    """On the monotonic clock."""
    number: int = field(default_factory=_numbers.__next__)
    cancelled: bool = False
    """By the caller, or because the job has ended: nothing more is delivered."""
    on_cancel: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Stop the job; its sequences are freed before the engine's next step. Does nothing once it has ended."""
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline


def deadline_after(seconds: float | None) -> float | None:
    """A deadline on the monotonic clock, or None."""
    return None if seconds is None else time.monotonic() + seconds
