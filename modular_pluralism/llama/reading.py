"""Reading log-probabilities without generating: of the next token, or of given continuations.

Prompts of one job that begin alike share that beginning: it is read once, and each prompt costs only its own end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from modular_pluralism.errors import InputError
from modular_pluralism.llama.job import Adapter, JobControl, Track, deadline_after
from modular_pluralism.llama.sampling import Row, log_normaliser

LogProbs = npt.NDArray[np.float32]


@dataclass(eq=False)
class Path:
    """One prompt to read. `collect` gets the log-probabilities after each position from `first_output` on; it may
    not keep the array."""

    tokens: list[int]
    first_output: int
    collect: Callable[[int, LogProbs], None]


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
        self._shared = _shared_length([path.tokens for path in self.paths])
        self._path_of: dict[Track, Path] = {}

    @property
    def longest(self) -> int:
        """Tokens of the longest path."""
        return max(len(path.tokens) for path in self.paths)

    def cells(self) -> int:
        """See Job."""
        return self._shared + sum(len(path.tokens) - self._shared for path in self.paths)

    def begin(self) -> Track:
        """The shared beginning."""
        first = min(
            (path.first_output for path in self.paths if path.first_output < self._shared), default=self._shared
        )
        return Track(self, self.paths[0].tokens[: self._shared], first_output=first)

    def branches(self) -> list[Track]:
        """What each path has beyond the shared beginning."""
        for path in self.paths:
            if len(path.tokens) > self._shared:
                track = Track(self, path.tokens, max(path.first_output, self._shared), read=self._shared)
                self._path_of[track] = path
        return list(self._path_of)

    def shared_tokens(self) -> int:
        """See Job."""
        return (len(self.paths) - 1) * self._shared

    def on_logits(self, track: Track, position: int, logits: Row) -> None:
        """See Job."""
        logprobs = logits - np.float32(log_normaliser(logits))
        own = self._path_of.get(track)
        for path in self.paths if own is None else (own,):
            if position >= path.first_output:
                path.collect(position, logprobs)

    def finish(self) -> None:
        """See Job."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(None)

    def fail(self, error: Exception) -> None:
        """See Job."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


def _shared_length(rows: Sequence[list[int]]) -> int:
    """How many tokens all rows begin with."""
    first, last = min(rows), max(rows)  # all others lie between these two in lexicographic order
    for at, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return at
    return min(len(first), len(last))


def next_token_paths(prompts: Sequence[Sequence[int]], n_vocab: int) -> tuple[list[Path], LogProbs]:
    """Paths that fill the returned float32 array [len(prompts), n_vocab] with next-token log-probabilities."""
    result: LogProbs = np.full((len(prompts), n_vocab), np.nan, dtype=np.float32)

    def path(index: int, tokens: Sequence[int]) -> Path:
        def collect(_position: int, logprobs: LogProbs) -> None:
            result[index] = logprobs

        return Path(list(tokens), len(tokens) - 1, collect)

    return [path(index, tokens) for index, tokens in enumerate(prompts)], result


def continuation_paths(
    prefix: Sequence[int], continuations: Sequence[Sequence[int]]
) -> tuple[list[Path], list[LogProbs]]:
    """Paths that fill the returned arrays, one a continuation, with the log-probability of each of its tokens."""
    if not prefix or any(not continuation for continuation in continuations):
        raise InputError("Scoring needs a prefix and continuations of at least one token each.")
    results: list[LogProbs] = [np.full(len(each), np.nan, dtype=np.float32) for each in continuations]

    def path(continuation: Sequence[int], result: LogProbs) -> Path:
        def collect(position: int, logprobs: LogProbs) -> None:
            predicted = position - (len(prefix) - 1)
            # The shared beginning may be longer than the prefix, or than another continuation.
            if predicted < len(continuation):
                result[predicted] = logprobs[continuation[predicted]]

        # The last token is predicted, and need not be read itself.
        return Path([*prefix, *continuation[:-1]], len(prefix) - 1, collect)

    return [path(each, result) for each, result in zip(continuations, results, strict=True)], results
