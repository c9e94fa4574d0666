"""What the engine works on: jobs, made of tracks, each a row of tokens that is read into a sequence of the KV cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from modular_pluralism.llama.chunks import wide_length
from modular_pluralism.llama.sampling import Row


class Adapter(NamedTuple):
    """A LoRA adapter and how strongly it is added to the weights."""

    path: Path
    scale: float = 1.0


@dataclass(eq=False)
class Track:
    """Tokens to be read in order into one sequence of the KV cache.

    `first_output` is the first position whose logits are wanted; those of every later position are wanted, too. Tokens
    may be appended while it runs: the prompt is what it begins with. `bare` of its tokens are read before the job's
    adapter is switched on, and so serve every other adapter, too.
    """

    job: Job
    tokens: list[int]
    first_output: int
    bare: int = 0
    read: int = 0
    """Tokens that are in the KV cache, reused ones included."""
    upcoming: Sequence[tuple[Sequence[int], int]] = ()
    """Tokens and first output of the next tracks of the same job, as far as they are known."""
    stops: set[int] = field(default_factory=set)
    """Lengths of which a checkpoint is to be kept, where the memory cannot be cut anywhere."""
    prompt: int = field(init=False)
    """Tokens that it began with."""

    def __post_init__(self) -> None:
        self.prompt = len(self.tokens)

    @property
    def left(self) -> int:
        """Tokens still to be read."""
        return len(self.tokens) - self.read

    @property
    def wide(self) -> int:
        """How many leading tokens are read in wide chunks."""
        return wide_length(self.bare or self.prompt)

    @property
    def adapter(self) -> Adapter | None:
        """What the next token is read with."""
        return None if self.read < self.bare else self.job.adapter

    @property
    def left_alike(self) -> int:
        """Tokens still to be read with the same adapter."""
        return self.bare - self.read if self.read < self.bare else self.left

    def until_stop(self) -> int:
        """Tokens still to be read alike, or fewer: up to the next length of which a checkpoint is to be kept."""
        end = self.read + self.left_alike
        return min((stop - self.read for stop in self.stops if self.read + 1 < stop < end), default=self.left_alike)

    def outputs(self, count: int) -> int:
        """How many rows of logits are wanted from the next `count` tokens."""
        return max(0, self.read + count - max(self.first_output, self.read))


class Job(Protocol):
    """One request inside the engine: one or more tracks, read one after the other. Runs on the engine's thread."""

    adapter: Adapter | None
    control: JobControl

    def next_track(self) -> Track | None:
        """The next track to read, or None after the last. Its sequence still holds the one before."""

    def on_reuse(self, tokens: int) -> None:
        """So many tokens of the track just handed out need not be read."""

    def on_logits(self, track: Track, position: int, logits: Row) -> None:
        """Logits after the token at `position`; `logits` is only valid during the call."""

    def finish(self) -> None:
        """Every track has been read: deliver the result."""

    def fail(self, error: Exception) -> None:
        """Deliver an error instead; may be called at any time, once."""


@dataclass(eq=False)
class JobControl:
    """The part of a job that its caller may touch, from any thread. It is a context, which stops the job at its end."""

    deadline: float | None = None
    """On the monotonic clock."""
    cancelled: bool = False
    """By the caller, or because the job has ended: nothing more is delivered."""
    on_cancel: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Stop the job; its sequences are freed before the engine's next step. Does nothing once it has ended."""
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()

    def __enter__(self) -> JobControl:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline


def deadline_after(seconds: float | None) -> float | None:
    """A deadline on the monotonic clock, or None."""
    return None if seconds is None else time.monotonic() + seconds
