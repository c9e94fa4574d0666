"""A seed of its own for each call of Inspect's, so that epochs are fresh draws and a run can be repeated."""

from __future__ import annotations

import hashlib
from collections import Counter

from inspect_ai.solver._task_state import sample_state

from modular_pluralism.nodes.step import derive_seed


class CallSeeds:
    """Seeds derived from one seed: the same for the same input, epoch and number of the call.

    Calls are counted for each sample apart, so that their seeds do not depend on the order in which samples come to
    run. The first call of an input in the first epoch, and so every call of a task that makes one of each, has the seed
    that was given.
    """

    def __init__(self) -> None:
        self._calls: Counter[bytes] = Counter()

    def next(self, seed: int, text: str) -> int:
        """The seed for the next call with this input in the running sample."""
        state = sample_state()  # Inspect tells a model nothing else of where it is called from
        sample, epoch = ("", 1) if state is None else (state.uuid, state.epoch)
        key = hashlib.blake2b(f"{sample}\0{epoch}\0{seed}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16)
        call = self._calls[key.digest()]
        self._calls[key.digest()] += 1
        return seed if (epoch, call) == (1, 0) else derive_seed(seed, "epoch", epoch, "call", call)
