"""The sequences of an engine: what each holds, who runs on it, and which one suits a new prompt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from modular_pluralism.llama.chunks import wide_length
from modular_pluralism.llama.job import Adapter, Job, Track
from modular_pluralism.llama.prefix_reuse import reusable_length

_WORTH_COPYING = 32
"""Tokens below which reading them anew costs no more than copying them from another sequence."""


@dataclass(eq=False)
class Slot:
    """One sequence. `cached` are the tokens that its KV stream holds, of which the first `wide` were read in wide
    chunks; `adapter` is what they were read with."""

    number: int
    cached: list[int] = field(default_factory=list)
    wide: int = 0
    adapter: Adapter | None = None
    job: Job | None = None
    track: Track | None = None
    last_used: int = 0

    def reusable(self, track: Track) -> int:
        """How many of a new track's tokens can be taken from here."""
        if self.adapter != track.job.adapter:
            return 0
        return reusable_length(self.cached, self.wide, track.tokens, track.first_output)

    def will_be_reusable(self, track: Track) -> int:
        """The same, once the prompt that is being read here has been read."""
        if self.track is None or self.adapter != track.job.adapter:
            return 0
        prompt = self.track.tokens[: self.track.prompt]
        return reusable_length(prompt, wide_length(self.track.prompt), track.tokens, track.first_output)

    def forget(self) -> None:
        """It holds nothing any more."""
        self.cached, self.wide = [], 0

    def keep(self, tokens: int) -> None:
        """It holds only so many tokens any more."""
        del self.cached[tokens:]
        self.wide = min(self.wide, tokens)


class Choice(NamedTuple):
    """Where a new track should run, how many tokens it finds there, and where those have to be copied from."""

    slot: Slot
    reused: int
    source: Slot | None


def choose(slots: Sequence[Slot], track: Track) -> Choice | None:
    """The best idle slot for a track; None if none is idle, or if the track should wait for a prompt being read."""
    idle = [slot for slot in slots if slot.job is None]
    if not idle:
        return None
    source = max(slots, key=lambda slot: (slot.reusable(track), slot.job is None, -slot.last_used))
    reused = source.reusable(track)
    if any(slot.will_be_reusable(track) >= reused + _WORTH_COPYING for slot in slots if slot.job is not None):
        return None
    oldest = min(idle, key=lambda slot: (slot.last_used, slot.number))
    # Running there cuts the rest off, which is only right where most of it is shared.
    if reused and source.job is None and (2 * reused >= len(source.cached) or source is oldest):
        return Choice(source, reused, None)
    if reused >= _WORTH_COPYING:
        return Choice(oldest, reused, source)
    return Choice(oldest, oldest.reusable(track), None)


def running(slots: Iterable[Slot]) -> list[Slot]:
    """The slots on which a track runs."""
    return [slot for slot in slots if slot.track is not None]
