"""How many threads compute, where other work wants the same cores: decided from how long they have waited for one.

All threads of a decode wait for the slowest at each of its hundreds of products. Where one of C cores is taken, C
threads get about half of what they get alone, and C - 1 threads lose only what that core gave. What tells is the time
that they are ready to run and have no core: on two cores 0.9 of the clock's beside one busy process, 0.03 without
(benchmarks/README.md, "Threads beside other work"). C - 1 threads that do not wait do not say that C would not; that
has to be tried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

WINDOW = 0.2
"""Seconds of decoding after which it is decided anew; in fewer, an idle machine may look like a busy one."""
FIRST_PATIENCE = 2.0
"""Seconds by the clock after which one thread more is tried."""
MOST_PATIENCE = 30.0
"""The same where it has failed over and over, each time after twice as long."""

_EVEN = 0.5
"""Share of the time that two threads wait from which on one is as fast: beside a process that wants half a core they
waited for 0.52 of it, and a step took 62 ms with two and 61 ms with one."""
_NOISE = 0.1
"""The share that says nothing: what many threads wait on an idle machine, all added."""


@dataclass
class ThreadChoice:
    """The number of threads, at most `most`, for `decide` to change. Pure: it is told the time.

    It takes as many fewer as cores seem to be taken, and no fewer than half: with half of them on cores of their own no
    more is done than with all of them on half a core each. It tries one more now and then, and more at once where that
    goes well; where it does not, the next try comes after twice the time.
    """

    most: int
    threads: int = field(init=False)
    _patience: float = field(init=False, default=FIRST_PATIENCE)
    _changed: float = field(init=False, default=-math.inf)
    """When the number was changed last."""
    _raised: bool = field(init=False, default=False)
    """Whether it was raised then."""

    def __post_init__(self) -> None:
        self.threads = self.most

    @property
    def fewest(self) -> int:
        """Half of them, and at least one."""
        return (self.most + 1) // 2

    def decide(self, waited: float, decoding: float, now: float) -> int:
        """The number of threads from now on.

        Args:
            waited: Seconds that the threads, all added, were ready and had no core since it was decided last.
            decoding: Seconds of decoding meanwhile, above 0; what lies between decodes does not count.
            now: Seconds on a clock that goes on where nothing is decoded: the other work may end meanwhile.
        """
        share = waited / decoding
        # T threads are worth giving up one for where they lose more than one part in T by it.
        if share > max(_NOISE, _EVEN / max(1, self.threads - 1)):
            self._held_up(share, now)
        else:
            self._undisturbed(now)
        return self.threads

    def _held_up(self, share: float, now: float) -> None:
        if self.threads == self.fewest:
            return
        if self._raised and now - self._changed < self._patience:
            self._patience = min(2 * self._patience, MOST_PATIENCE)
        # At least as many cores are missing: who shares a core does not wait for all of the time.
        self._change(max(self.fewest, self.threads - max(1, int(share))), now, raised=False)

    def _undisturbed(self, now: float) -> None:
        patient = now - self._changed >= self._patience
        if self.threads < self.most:
            if self._raised or patient:
                self._change(self.threads + 1, now, raised=True)
        elif patient:
            self._patience = FIRST_PATIENCE

    def _change(self, threads: int, now: float, *, raised: bool) -> None:
        self.threads, self._changed, self._raised = threads, now, raised
