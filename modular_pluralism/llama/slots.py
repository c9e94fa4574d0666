"""The sequences of an engine: what each holds, who runs on it, and which one suits a new prompt."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from modular_pluralism.llama.job import Adapter, Job, Track
from modular_pluralism.llama.prefix_reuse import reusable_length

_WORTH_COPYING = 32
"""Tokens below which reading them anew costs no more than copying them from another sequence."""


class Memory(NamedTuple):
    """What a model's memory of a sequence can do. `window`: tokens that its sliding windows hold, 0 where it has none;
    what has left them may be gone. `recurrent`: it holds a state that no token can be taken out of again."""

    window: int = 0
    recurrent: bool = False

    @property
    def can_be_cut_anywhere(self) -> bool:
        """Whether the last tokens of a sequence can be taken back, however many."""
        return not (self.window or self.recurrent)


_PLAIN = Memory()


class Checkpoint(NamedTuple):
    """The part of a sequence's memory that cannot be cut, as it was after the first `length` tokens."""

    length: int
    state: bytearray


@dataclass(eq=False)
class Slot:
    """One sequence. `cached` are the tokens that its KV stream holds, of which the first `wide` were read in wide
    chunks; `adapter` is what they were read with, but for the first `bare`, which were read without any. Where its
    memory cannot be cut anywhere, `held_from` is the first position that its windows still hold, and `checkpoints` are
    the lengths that it can go back to."""

    number: int
    cached: list[int] = field(default_factory=list)
    wide: int = 0
    adapter: Adapter | None = None
    bare: int = 0
    job: Job | None = None
    track: Track | None = None
    last_used: int = 0
    memory: Memory = _PLAIN
    held_from: int = 0
    checkpoints: list[Checkpoint] = field(default_factory=list)

    def reusable(self, track: Track, *, copied: bool = False) -> int:
        """How many of a new track's tokens can be taken from here, or from a copy of what is here."""
        if (alike := self.read_alike(track)) == 0:
            return 0

        def restorable(length: int) -> int:
            return length if self.can_be_cut(length, copied=copied) else self._before(length)

        return reusable_length(
            self.cached, self.wide, track.tokens, track.first_output, restorable, bare=track.bare, alike=alike
        )

    def read_alike(self, track: Track) -> int:
        """How many leading tokens at most are read here and there with the same: all with one adapter that is switched
        on at one place, and otherwise those before either is."""
        here, there = (self.adapter, self.bare), (track.job.adapter, track.bare)
        if here == there:
            return sys.maxsize
        return min(sys.maxsize if adapter is None else bare for adapter, bare in (here, there))

    def will_be_reusable(self, track: Track) -> int:
        """The same, once the prompt that is being read here has been read."""
        running = self.track
        if running is None or (alike := self.read_alike(track)) == 0:
            return 0

        def restorable(length: int) -> int:
            if self.memory.can_be_cut_anywhere or length > running.read:
                return length  # it can be told to keep a checkpoint there
            return max([self._before(length), *(stop for stop in running.stops if stop <= length)])

        prompt = running.tokens[: running.prompt]
        return reusable_length(
            prompt, running.wide, track.tokens, track.first_output, restorable, bare=track.bare, alike=alike
        )

    def can_be_cut(self, length: int, *, copied: bool = False) -> bool:
        """Whether its memory can be cut to so many tokens without a checkpoint. A copy holds one window only."""
        held = len(self.cached)
        if length >= held or length == 0 or self.memory.can_be_cut_anywhere:
            return True
        held_from = max(self.held_from, held - self.memory.window) if copied else self.held_from
        return not self.memory.recurrent and held_from <= max(0, length - self.memory.window)

    def checkpoint_at(self, length: int) -> Checkpoint | None:
        """The checkpoint after exactly so many tokens."""
        return next((checkpoint for checkpoint in self.checkpoints if checkpoint.length == length), None)

    def _before(self, length: int) -> int:
        """The length of the longest checkpoint that is no longer than that."""
        return max((each.length for each in self.checkpoints if each.length <= length), default=0)

    def take_over(self, other: Slot) -> None:
        """It holds the same as another slot does."""
        self.cached, self.wide = list(other.cached), other.wide
        self.adapter, self.bare = other.adapter, other.bare
        self.held_from, self.checkpoints = other.held_from, list(other.checkpoints)

    def forget(self) -> None:
        """It holds nothing any more."""
        self.cached, self.wide, self.held_from, self.checkpoints = [], 0, 0, []

    def keep(self, tokens: int) -> None:
        """It holds only so many tokens any more."""
        del self.cached[tokens:]
        self.wide = min(self.wide, tokens)
        self.checkpoints = [checkpoint for checkpoint in self.checkpoints if checkpoint.length <= tokens]


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
    source = max(
        slots, key=lambda slot: (slot.reusable(track, copied=slot.job is not None), slot.job is None, -slot.last_used)
    )
    copied = source.reusable(track, copied=True)
    reused = source.reusable(track) if source.job is None else copied
    if any(slot.will_be_reusable(track) >= reused + _WORTH_COPYING for slot in slots if slot.job is not None):
        return None
    oldest = min(idle, key=lambda slot: (slot.last_used, slot.number))
    # Running there cuts the rest off, which is only right where most of it is shared, or a copy would hold less.
    if reused and source.job is None and (2 * reused >= len(source.cached) or source is oldest or copied < reused):
        return Choice(source, reused, None)
    if copied >= _WORTH_COPYING:
        return Choice(oldest, copied, source)
    return Choice(oldest, oldest.reusable(track), None)


def running(slots: Iterable[Slot]) -> list[Slot]:
    """The slots on which a track runs."""
    return [slot for slot in slots if slot.track is not None]
