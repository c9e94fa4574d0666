"""Checkpoints: the way back of a memory that cannot be cut anywhere.

Sliding windows have dropped what lies behind them, and a recurrent state has taken up every token for good. So what
such a model has read can only be reused where it ended, or where a copy of its windows and states was kept. Copies are
kept where they will be wanted: where the next track of the same job or a waiting prompt branches off, and close to the
end of a prompt, which may be asked again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from modular_pluralism.llama.context import Context
from modular_pluralism.llama.job import Track
from modular_pluralism.llama.prefix_reuse import reusable_length
from modular_pluralism.llama.slots import Checkpoint, Slot, running

_OF_ONE_SLOT = 8
"""Most checkpoints of one sequence."""


class Checkpoints:
    """Keeps the checkpoints of an engine's slots, in `room` bytes."""

    def __init__(self, context: Context, slots: Sequence[Slot], room: int) -> None:
        self._context = context
        self._slots = slots
        self._room = room

    def plan(self, track: Track) -> None:
        """Note where checkpoints of a track that begins now will be wanted."""
        if self._slots[0].memory.can_be_cut_anywhere:
            return
        again = (track.tokens[: track.prompt], track.first_output)
        for tokens, first_output in (again, *track.upcoming):
            self._stop(track, tokens, first_output, track.bare)
        if track.read < track.bare:  # where other adapters than its own will be switched on
            track.stops.add(track.bare)

    def plan_for_waiting(self, waiting: Track) -> None:
        """Note where a track that waits for a prompt being read will branch off from it."""
        if self._slots[0].memory.can_be_cut_anywhere:
            return
        source = max(running(self._slots), key=lambda slot: slot.will_be_reusable(waiting))
        assert source.track is not None
        alike = source.read_alike(waiting)
        self._stop(source.track, waiting.tokens, waiting.first_output, waiting.bare, alike)

    @staticmethod
    def _stop(track: Track, tokens: Sequence[int], first_output: int, bare: int, alike: int = sys.maxsize) -> None:
        prompt = track.tokens[: track.prompt]
        length = reusable_length(prompt, track.wide, tokens, first_output, bare=bare, alike=alike)
        if length > track.read:
            track.stops.add(length)

    def keep(self, slot: Slot) -> None:
        """Keep a checkpoint of what a slot holds now, if one is wanted."""
        track = slot.track
        if track is None or track.read not in track.stops or slot.checkpoint_at(track.read) is not None:
            return
        state = self._context.checkpoint(slot.number)
        if len(state) > self._room:
            return
        slot.checkpoints.append(Checkpoint(track.read, state))
        del slot.checkpoints[:-_OF_ONE_SLOT]
        self._make_room(slot)

    def _make_room(self, newest: Slot) -> None:
        """Drop what has not been used for longest, the oldest first."""
        taken = {id(each.state): len(each.state) for slot in self._slots for each in slot.checkpoints}
        over = sum(taken.values()) - self._room
        for slot in sorted(self._slots, key=lambda slot: (slot is newest, slot.last_used)):
            while over > 0 and len(slot.checkpoints) > (slot is newest):
                over -= len(slot.checkpoints.pop(0).state)
