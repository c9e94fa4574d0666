"""Which sequence reads what in the next step: continuous batching, one step at a time, all on one thread.

A step serves one adapter, adapters taking turns. It reads prompts for a while, in chunks, and then the next token of
every sequence that is generating, all in one decode.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from modular_pluralism.errors import DeadlineError, ModelCallError, ModelLoadError, PluralismError
from modular_pluralism.llama.checkpoints import Checkpoints
from modular_pluralism.llama.chunks import WIDE, narrow_chunks, wide_chunk
from modular_pluralism.llama.context import Chunk, Context, DecodeError, WholeCopies
from modular_pluralism.llama.generation import GenerationJob
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.llama.job import Adapter, Job, Track
from modular_pluralism.llama.memory import MemoryPlan, cells, longest_sequence
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.parameters import OUTPUTS
from modular_pluralism.llama.sampling import Row
from modular_pluralism.llama.settings import EngineSettings, EngineStats
from modular_pluralism.llama.slot_budget import affordable_slots
from modular_pluralism.llama.slot_layout import is_contiguous, moves_to_contiguous
from modular_pluralism.llama.slots import Choice, Memory, Slot, choose, running
from modular_pluralism.llama.threads import Threads

_READ_BESIDE_OTHERS = 256
"""About how many prompt tokens a step reads while other sequences are generating and have to wait for it."""
_SPLIT_KERNEL = 256
"""Cached tokens from which on llama.cpp decodes a sequence that runs alone with a kernel of its own, whose
sums depend on the number of threads."""


class Scheduler:
    """Runs jobs on one context. Not thread-safe.

    Raises:
        ModelLoadError: there is no memory for a single sequence, or the model cannot be repeatable.
    """

    def __init__(self, model: ModelFile, settings: EngineSettings, stats: EngineStats, plan: MemoryPlan) -> None:
        if settings.repeatable and model.is_recurrent:
            raise ModelLoadError(
                f"{model.path.name} has recurrent layers, which cannot take a token back; leave repeatable out."
            )
        self._model = model
        self._settings = settings
        self._stats = stats
        self.length = longest_sequence(settings, model.n_ctx_train)
        """The most tokens of one sequence."""
        self._stream = cells(settings, self.length)
        self._threads = Threads(settings.threads or usable_cores(), adaptive=settings.adapts_threads)
        stats.threads = self._threads.now
        slots = affordable_slots(settings, plan, self.length)
        self._memory = Memory(model.window, model.is_recurrent)
        self._context = Context(
            model,
            settings.hardware,
            slots,
            self._stream,
            self._threads.now,
            whole_copies=self._whole_copies(plan),
        )
        self.slots = [Slot(number, memory=self._memory) for number in range(self._context.streams)]
        self._checkpoints = Checkpoints(self._context, self.slots, room=slots * plan.cache // 2)
        stats.slots = len(self.slots)
        self._waiting: deque[Track] = deque()
        self._last_turn: Adapter | None = None
        self._clock = itertools.count(1)

    def _whole_copies(self, plan: MemoryPlan) -> WholeCopies:
        if not self._memory.can_be_cut_anywhere:
            return "never"  # a copy that waits would undo the checkpoint that is put back before it is made
        return self._settings.whole_copies or ("always" if plan.caches_on_gpu else "full")

    def add(self, job: Job) -> None:
        """Put a job into the queue."""
        track = job.next_track()
        assert track is not None, "a job has at least one track"
        self._waiting.append(track)

    @property
    def waiting(self) -> int:
        """Jobs that have not been started."""
        return len(self._waiting)

    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._waiting or running(self.slots))

    def step(self) -> None:
        """Drop what is over, start what can be started, and decode for one adapter."""
        self._drop_cancelled_and_late()
        self._admit()
        slots = running(self.slots)
        if slots:
            self._stats.steps += 1
            adapter = self._turn(slots)
            self._read_prompts(adapter)
            self._decode_together(adapter)
        if self._settings.audit:
            self.audit()

    def end(self, error: Exception) -> None:
        """Fail every job and free the context."""
        for slot in running(self.slots):
            self._stop(slot, error)
        for track in self._waiting:
            self._fail(track.job, error)
        self._waiting.clear()
        self._context.close()

    # -- admission -----------------------------------------------------------------------------------------------------

    def _drop_cancelled_and_late(self) -> None:
        for slot in running(self.slots):
            assert slot.job is not None
            if self._is_over(slot.job):
                slot.job = slot.track = None
        if any(self._is_over(track.job) for track in self._waiting):
            self._waiting = deque(track for track in self._waiting if not self._is_over(track.job))

    def _is_over(self, job: Job) -> bool:
        """Whether the caller has gone or the deadline has passed; tells the caller of a late one, once."""
        if job.control.cancelled:
            return True
        if job.control.is_late():
            self._fail(job, DeadlineError(f"{self._model.path.name} did not answer within the deadline of this call."))
            return True
        return False

    def _admit(self) -> None:
        """Start waiting jobs, first come first served, but one whose prompt is just being read waits for that."""
        passed_over: list[Track] = []
        while self._waiting and any(slot.job is None for slot in self.slots):
            track = self._waiting.popleft()
            choice = self._choose(track)
            if choice is None:
                self._checkpoints.plan_for_waiting(track)
                passed_over.append(track)
            else:
                self._start(track, choice)
        self._waiting.extendleft(reversed(passed_over))
        self._stats.most_running = max(self._stats.most_running, len(running(self.slots)))

    def _choose(self, track: Track) -> Choice | None:
        if self._settings.reuse:
            return choose(self.slots, track)
        idle = (slot for slot in self.slots if slot.job is None)
        return Choice(min(idle, key=lambda slot: slot.last_used), 0, None)

    def _start(self, track: Track, choice: Choice) -> None:
        slot, reused, source = choice
        if source is not None:
            self._context.copy(source.number, slot.number)
            slot.take_over(source)
            slot.held_from = self._held_from(slot)
            self._stats.copies += 1
        slot.job = track.job
        slot.last_used = next(self._clock)
        self._begin(slot, track, reused)

    def _begin(self, slot: Slot, track: Track, reused: int) -> None:
        """Let a track run on a slot, of whose tokens it keeps `reused`."""
        if len(slot.cached) > reused:
            checkpoint = None if slot.can_be_cut(reused) else slot.checkpoint_at(reused)
            if checkpoint is not None:
                self._context.restore(slot.number, checkpoint.state)
            if self._context.cut(slot.number, reused):
                slot.keep(reused)
            else:
                slot.forget()
                reused = 0
        slot.adapter, slot.bare = track.job.adapter, track.bare
        slot.track = track
        track.read = reused
        self._checkpoints.plan(track)
        track.job.on_reuse(reused)
        self._stats.reuses += reused > 0
        self._stats.tokens_reused += reused

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _turn(self, slots: Sequence[Slot]) -> Adapter | None:
        """The adapter whose turn it is."""
        adapters = list(dict.fromkeys(slot.track.adapter for slot in slots if slot.track))
        at = adapters.index(self._last_turn) + 1 if self._last_turn in adapters else 0
        self._last_turn = adapters[at % len(adapters)]
        return self._last_turn

    def _read_prompts(self, adapter: Adapter | None) -> None:
        """Read prompts until the step's room is used up; a last single token is left for the decode that all share."""
        others_wait = any(self._has_one_left(slot) for slot in self.slots)
        room = _READ_BESIDE_OTHERS if others_wait else self._context.batch
        while room > 0:
            reading = [slot for slot in _reading_with(adapter, self.slots) if not self._has_one_left(slot)]
            if not reading:
                return
            group, count = self._next_chunks(sorted(reading, key=lambda slot: slot.last_used), room)
            self._decode(group, count)
            room -= len(group) * count
            if self._waiting:  # perhaps for what has just been read
                self._admit()

    def _next_chunks(self, reading: Sequence[Slot], room: int) -> tuple[list[Slot], int]:
        """The slots of the next decode and how many tokens each reads: a wide chunk of the oldest prompt, or narrow
        ones of all that are at it."""
        tracks = [slot.track for slot in reading if slot.track is not None]
        oldest = tracks[0]
        wide = oldest.wide
        if oldest.read < wide:
            # Chunks are at most 127 tokens, where that is more than the room; no decode gives more rows than OUTPUTS.
            # A checkpoint may be wanted within; what is left behind it has to be wide, too.
            end = min((stop for stop in oldest.stops if oldest.read + WIDE <= stop <= wide - WIDE), default=wide)
            count = wide_chunk(end - oldest.read, min(room, self._context.batch))
            if oldest.outputs(count) > OUTPUTS:
                count = wide_chunk(end - oldest.read, WIDE)
            return [reading[0]], count
        narrow = [at for at, track in enumerate(tracks) if track.read >= track.wide]
        places, count = narrow_chunks([tracks[at].until_stop() for at in narrow], self._context.batch)
        group = [narrow[place] for place in places]
        if sum(tracks[at].outputs(count) for at in group) > OUTPUTS:
            group, count = [0], narrow_chunks([oldest.until_stop()], self._context.batch)[1]
        return [reading[at] for at in group], count

    def _decode_together(self, adapter: Adapter | None) -> None:
        """Read one token of every sequence of this adapter that has one left, in one decode."""
        group = [slot for slot in _reading_with(adapter, self.slots) if self._has_one_left(slot)]
        if not group:
            return
        if not is_contiguous([slot.number for slot in group]) and self._context.is_settled:
            self._bring_together()
        self._decode(group, 1)

    @staticmethod
    def _has_one_left(slot: Slot) -> bool:
        return slot.track is not None and slot.track.left_alike == 1

    def _bring_together(self) -> None:
        """Move sequences so that those decoded together lie side by side."""
        groups: dict[tuple[Adapter | None, bool], list[int]] = {}
        for slot in running(self.slots):
            assert slot.track is not None
            groups.setdefault((slot.track.adapter, self._has_one_left(slot)), []).append(slot.number)
        moves = moves_to_contiguous(list(groups.values()), len(self.slots))
        self._context.move(moves)
        self._stats.moves += len(moves)
        at = {slot.number: slot for slot in self.slots}
        # Idle slots that had to give way get the places that were left, which still hold what was moved from there.
        displaced = [at[number] for number in sorted(set(moves.values()) - set(moves))]
        left = [at[number] for number in sorted(set(moves) - set(moves.values()))]
        for idle, moved in zip(displaced, left, strict=True):
            idle.take_over(moved)
            idle.number = moved.number
        for source, target in moves.items():
            at[source].number = target
        self.slots.sort(key=lambda slot: slot.number)
        for slot in self.slots:
            slot.held_from = self._held_from(slot)

    def _decode(self, slots: Sequence[Slot], count: int) -> None:
        """Read the next `count` tokens of each slot's track, and hand out the logits that are wanted."""
        chunks = []
        slots = sorted(slots, key=lambda slot: slot.number)
        for slot in slots:
            assert slot.track is not None
            tokens = slot.track.tokens[slot.track.read : slot.track.read + count]
            chunks.append(Chunk(slot.number, slot.track.read, tokens, slot.track.first_output))
        try:
            self._context.use_adapter(slots[0].track.adapter if slots[0].track else None)
            self._context.use_threads(self._threads.now, reading=count > 1)
            with self._threads.decoding():
                rows = iter(self._padded_decode(slots, chunks))
        except DecodeError as error:
            self._fail_decode(slots, error)
            return
        self._stats.decodes += 1
        self._stats.threads = self._threads.now
        for slot, chunk in zip(slots, chunks, strict=True):
            assert slot.track is not None
            self._stats.tokens_read += len(chunk.tokens)
            slot.cached += chunk.tokens
            if len(chunk.tokens) >= WIDE:
                slot.wide = len(slot.cached)
            slot.track.read += len(chunk.tokens)
            slot.held_from = self._held_from(slot)
            self._checkpoints.keep(slot)
            for position, row in zip(chunk.outputs, rows, strict=False):
                self._hand_out(slot, position, row)
        for slot in slots:
            self._go_on(slot)

    def _held_from(self, slot: Slot) -> int:
        return self._context.held_from(slot.number) if self._memory.window else 0

    def _padded_decode(self, slots: Sequence[Slot], chunks: Sequence[Chunk]) -> Iterable[Row]:
        """Decode; a lone token of a repeatable engine gets company, so that the same kernel reads it as in a crowd."""
        alone = len(chunks) == 1 and len(chunks[0].tokens) == 1 and chunks[0].position >= _SPLIT_KERNEL
        if not (self._settings.repeatable and alone):
            return self._context.decode(chunks)
        number = chunks[0].stream
        company = next((slot for slot in self.slots if abs(slot.number - number) == 1), None)
        if company is None:  # with one slot, every token is alone
            return self._context.decode(chunks)
        padding = Chunk(company.number, len(company.cached), chunks[0].tokens, self._stream)
        try:
            return list(self._context.decode(sorted([*chunks, padding])))
        finally:
            self._context.cut(company.number, len(company.cached))

    def _hand_out(self, slot: Slot, position: int, row: Row) -> None:
        """Give a job the logits that it wanted; one that cannot use them fails alone."""
        job, track = slot.job, slot.track
        assert job is not None
        assert track is not None
        if job.control.cancelled:
            return
        if isinstance(job, GenerationJob):
            self._stats.tokens_generated += 1
        self._guarded(job, lambda: job.on_logits(track, position, row))

    def _go_on(self, slot: Slot) -> None:
        """When a track has been read, begin the job's next one, or finish the job."""
        job = slot.job
        assert job is not None
        if slot.track is None or slot.track.left or job.control.cancelled:
            return  # a cancelled job is dropped before the next step
        track = job.next_track()
        if track is not None:
            self._begin(slot, track, slot.reusable(track) if self._settings.reuse else 0)
            return
        slot.job = slot.track = None
        job.control.cancelled = True
        self._guarded(job, job.finish)

    # -- failures ------------------------------------------------------------------------------------------------------

    def _guarded(self, job: Job, deliver: Callable[[], None]) -> None:
        try:
            deliver()
        except PluralismError as error:  # what the request itself asked for cannot be had
            self._fail(job, error)
        except Exception as error:
            broken = ModelCallError(f"{self._model.path.name} could not go on with this request: {error!r}.")
            broken.__cause__ = error
            self._fail(job, broken)

    def _fail_decode(self, slots: Sequence[Slot], error: DecodeError) -> None:
        told = ModelCallError(
            f"llama.cpp could not decode a step of {self._model.path.name} ({error}); lower the number of slots in the "
            "pool file."
        )
        for slot in slots:
            self._context.cut(slot.number, 0)
            slot.forget()
            self._stop(slot, told)

    def _stop(self, slot: Slot, error: Exception) -> None:
        job = slot.job
        slot.job = slot.track = None
        if job is not None:
            self._fail(job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        """Tell a job's caller; one whose `deliver` raises must not bring down the others."""
        job.control.cancelled = True
        self._stats.failed += 1
        with contextlib.suppress(Exception):
            job.fail(error)

    def audit(self) -> None:
        """Compare the books with llama.cpp's.

        Raises:
            AssertionError: they differ.
        """
        assert [slot.number for slot in self.slots] == list(range(self._context.streams)), "slots are out of order"
        for slot in self.slots:
            held = self._context.tokens_in(slot.number)
            assert held == len(slot.cached), f"slot {slot.number} holds {held} tokens, not {len(slot.cached)}"
            assert slot.wide <= len(slot.cached), f"slot {slot.number} counts more wide tokens than it holds"
            assert (slot.job is None) == (slot.track is None), f"slot {slot.number} is half free"
            if slot.track is not None:
                assert slot.track.job is slot.job, f"slot {slot.number} runs another job's track"
                assert slot.track.tokens[: slot.track.read] == slot.cached, f"slot {slot.number} holds other tokens"
        jobs = [id(slot.job) for slot in running(self.slots)] + [id(track.job) for track in self._waiting]
        assert len(set(jobs)) == len(jobs), "a job is in two places"


def _reading_with(adapter: Adapter | None, slots: Iterable[Slot]) -> list[Slot]:
    """Those whose next token is read with this adapter."""
    return [slot for slot in slots if slot.track is not None and slot.track.left and slot.track.adapter == adapter]
