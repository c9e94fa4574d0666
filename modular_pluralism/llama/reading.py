"""Reading log-probabilities without generating: of the next token, or of given continuations.

The prompts of one job are read one after the other into the same sequence, so that what a prompt shares with the one
before is read once, and it costs only its own end. What several adapters share, before they are switched on, is read
once for all of them where each prompt is a job of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from modular_pluralism.errors import InputError
from modular_pluralism.llama.generation import TokenLogprob
from modular_pluralism.llama.job import Adapter, JobControl, Track, deadline_after
from modular_pluralism.llama.sampling import Row, likeliest, log_normaliser

LogProbs = npt.NDArray[np.float32]
T = TypeVar("T", covariant=True)
_UPCOMING = 8
"""Paths that are looked ahead for what they share."""


@dataclass(eq=False)
class Path:
    """One prompt to read. `collect` gets the log-probabilities after each position from `first_output` on; it may
    not keep the array. `bare` of its tokens are read before the adapter is switched on."""

    tokens: list[int]
    first_output: int
    collect: Callable[[int, LogProbs], None]
    bare: int = 0


@dataclass(eq=False)
class ReadingJob:
    """Reads several paths; `future` ends with None once every path's `collect` has had all it wants."""

    paths: Sequence[Path]
    adapter: Adapter | None = None
    timeout: float | None = None
    control: JobControl = field(init=False)
    future: Future[None] = field(default_factory=Future)

    def __post_init__(self) -> None:
        if not self.paths or any(not path.tokens for path in self.paths):
            raise InputError("There is nothing to read: give at least one prompt, and no empty one.")
        self.control = JobControl(deadline_after(self.timeout))
        self._left = deque(self.paths)
        self._path: Path | None = None

    @property
    def longest(self) -> int:
        """Tokens of the longest path."""
        return max(len(path.tokens) for path in self.paths)

    def next_track(self) -> Track | None:
        """See Job."""
        if not self._left:
            return None
        self._path = self._left.popleft()
        upcoming = [(path.tokens, path.first_output) for path in islice(self._left, _UPCOMING)]
        return Track(self, self._path.tokens, self._path.first_output, self._path.bare, upcoming=upcoming)

    def on_reuse(self, tokens: int) -> None:
        """See Job."""

    def on_logits(self, track: Track, position: int, logits: Row) -> None:
        """See Job."""
        assert self._path is not None
        self._path.collect(position, logits - np.float32(log_normaliser(logits)))

    def finish(self) -> None:
        """See Job."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(None)

    def fail(self, error: Exception) -> None:
        """See Job."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


@dataclass(frozen=True)
class ReadingRequest(Generic[T]):
    """What is to be read: `paths`, which fill `result`. `rows` are all the tokens that are named, for checking them."""

    paths: Sequence[Path]
    result: T
    rows: Sequence[Sequence[int]]


def next_tokens(prompts: Sequence[Sequence[int]], n_vocab: int) -> ReadingRequest[LogProbs]:
    """The log-probabilities of the token after each prompt: float32 [len(prompts), n_vocab]."""
    result: LogProbs = np.full((len(prompts), n_vocab), np.nan, dtype=np.float32)

    def path(index: int, tokens: Sequence[int]) -> Path:
        def collect(_position: int, logprobs: LogProbs) -> None:
            result[index] = logprobs

        return Path(list(tokens), len(tokens) - 1, collect)

    return ReadingRequest([path(index, tokens) for index, tokens in enumerate(prompts)], result, prompts)


def prompt_tokens(tokens: Sequence[int], top: int) -> ReadingRequest[list[TokenLogprob]]:
    """The log-probability of every token of a prompt but the first, given those before it, with the `top` likeliest
    ones in its place."""
    result: list[TokenLogprob] = []

    def collect(position: int, logprobs: LogProbs) -> None:
        token = tokens[position + 1]
        others = tuple((int(other), float(logprobs[other])) for other in likeliest(logprobs, min(top, logprobs.size)))
        result.append(TokenLogprob(token, float(logprobs[token]), others))

    return ReadingRequest([Path(list(tokens[:-1]), 0, collect)], result, [tokens])


def continuations(prefix: Sequence[int], following: Sequence[Sequence[int]]) -> ReadingRequest[list[LogProbs]]:
    """The log-probability of every token of each continuation of `prefix`: one float32 array a continuation."""
    if not prefix or any(not continuation for continuation in following):
        raise InputError("Scoring needs a prefix and continuations of at least one token each.")
    results: list[LogProbs] = [np.full(len(continuation), np.nan, dtype=np.float32) for continuation in following]

    def path(continuation: Sequence[int], result: LogProbs) -> Path:
        def collect(position: int, logprobs: LogProbs) -> None:
            predicted = position - (len(prefix) - 1)
            result[predicted] = logprobs[continuation[predicted]]

        # The last token is predicted, and need not be read itself.
        return Path([*prefix, *continuation[:-1]], len(prefix) - 1, collect)

    paths = [path(continuation, result) for continuation, result in zip(following, results, strict=True)]
    return ReadingRequest(paths, results, [prefix, *following])
