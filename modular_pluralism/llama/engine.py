"""Continuous batching over llama.cpp: one thread a model, one decode a step for every running sequence.

`llama_cpp.Llama` decodes one sequence at a time. A community pool asks the same weights for many comments at once, so
here each step carries the next token of every running sequence plus chunks of the prompts being read in. All
sequences share one KV cache (`kv_unified`): its cells go to whoever needs them, and a prompt can be forked for free.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from llama_cpp import llama_cpp as native

from modular_pluralism.errors import (
    ContextOverflowError,
    DeadlineError,
    EngineClosedError,
    InputError,
    ModelCallError,
    ModelLoadError,
)
from modular_pluralism.llama.batch import Batch
from modular_pluralism.llama.captured_log import captured_log, reason
from modular_pluralism.llama.generation import Event, Finish, GenerationJob, GenerationRequest, Piece
from modular_pluralism.llama.job import Adapter, Job, JobControl, Track
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.reading import LogProbs, ReadingJob, continuation_paths, next_token_paths

_BATCH = 512
"""Most tokens a decode step reads."""
_CHUNK = 64
"""Most prompt tokens a step reads while other sequences are generating, so that those are not held up for long."""
_OUTPUTS = 64
"""Most rows of logits a step asks for, unless there are more slots: llama.cpp keeps a buffer of vocabulary size for
each."""


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is made from; equal settings may share one engine.

    `context`: the most tokens of one sequence. `cells`: tokens of all running sequences together (default: twice the
    context). `slots`: the most sequences at a time. `threads`: default, the cores that this process may use.
    `adapters`: every LoRA file that a request may name; llama.cpp wants them before the context is made.
    """

    gguf: Path
    context: int = 4096
    cells: int | None = None
    slots: int = 48
    threads: int | None = None
    adapters: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name in ("context", "cells", "slots", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; use at least 1.")


@dataclass
class EngineStats:
    """Counts since the engine was started."""

    steps: int = 0
    tokens_read: int = 0
    """Tokens that went through the model, prompts and generated ones."""
    tokens_shared: int = 0
    """Prompt tokens that did not have to, because a prompt of the same job begins with them, too."""
    tokens_generated: int = 0
    requests: int = 0
    failed: int = 0
    most_running: int = 0


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Running:
    """A job that holds sequences and cells."""

    def __init__(self, job: Job, trunk: Track, cells: int) -> None:
        self.job = job
        self.trunk = trunk
        self.cells = cells
        self.tracks: list[Track] = [trunk]
        self.waiting: deque[Track] | None = None
        """Branches without a sequence yet; None until the trunk has been read."""


class Engine:
    """Loads one GGUF and serves any number of concurrent requests for it, from threads and from asyncio.

    Raises:
        ModelLoadError: the model or an adapter cannot be loaded.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.model = ModelFile(settings.gguf)
        try:
            for adapter in settings.adapters:
                self.model.load_adapter(adapter)
            self.context = min(settings.context, self.model.n_ctx_train)
            self._cells = max(settings.cells or 2 * self.context, self.context)
            self._slots = min(settings.slots, native.llama_max_parallel_sequences())
            self._outputs = max(_OUTPUTS, self._slots)
            self._pointer = self._make_context()
        except BaseException:
            self.model.close()
            raise
        self._memory = native.llama_get_memory(self._pointer)
        self._batch = Batch(_BATCH)
        self.stats = EngineStats()

        self._changed = threading.Condition()
        self._arrived: deque[Job] = deque()
        self._closing = False
        # The rest belongs to the engine's thread alone.
        self._queue: deque[Job] = deque()
        self._running: list[_Running] = []
        self._free_sequences = list(range(self._slots))
        self._free_cells = self._cells
        self._adapter: Adapter | None = None
        self._last_adapter_turn: Adapter | None = None
        self._thread = threading.Thread(target=self._work, name=f"engine {settings.gguf.name}", daemon=True)
        self._thread.start()

    # -- what callers use, from any thread ---------------------------------------------------------------------------

    def submit_generation(self, request: GenerationRequest, deliver: Callable[[Event], None]) -> JobControl:
        """Start a generation; `deliver` gets its events on the engine's thread and must not block.

        Raises:
            ContextOverflowError: the prompt leaves no room for a single token.
            InputError: a token is not in the vocabulary.
            EngineClosedError: the engine has been closed.
        """
        self._check_tokens(request.tokens)
        self._check_length(len(request.tokens) + 1)
        return self._submit(GenerationJob(request, self.model, self.context, deliver))

    def stream(self, request: GenerationRequest) -> Iterator[Piece | Finish]:
        """Generate a text and yield its pieces, then how it finished. Leaving the loop early cancels it."""
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        control = self.submit_generation(request, events.put)
        try:
            while True:
                event = events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finish):
                    return
        finally:
            control.cancel()

    async def astream(self, request: GenerationRequest) -> AsyncIterator[Piece | Finish]:
        """As `stream`, for asyncio; cancelling the task cancels the generation."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def deliver(event: Event) -> None:
            # The loop may be gone when a request was abandoned with it; there is nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(events.put_nowait, event)

        control = self.submit_generation(request, deliver)
        try:
            while True:
                event = await events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finish):
                    return
        finally:
            control.cancel()

    def next_token_logprobs(
        self, prompts: Sequence[Sequence[int]], *, adapter: Adapter | None = None, timeout: float | None = None
    ) -> LogProbs:
        """Log-probabilities (natural log) of the token after each prompt: float32 [len(prompts), n_vocab].

        What the prompts have in common at their beginning is read once.
        """
        self._check_tokens(*prompts)
        paths, result = next_token_paths(prompts, self.model.n_vocab)
        self._read(ReadingJob(paths, adapter, timeout))
        return result

    async def anext_token_logprobs(
        self, prompts: Sequence[Sequence[int]], *, adapter: Adapter | None = None, timeout: float | None = None
    ) -> LogProbs:
        """As `next_token_logprobs`, for asyncio."""
        self._check_tokens(*prompts)
        paths, result = next_token_paths(prompts, self.model.n_vocab)
        await self._aread(ReadingJob(paths, adapter, timeout))
        return result

    def score(
        self,
        prefix: Sequence[int],
        continuations: Sequence[Sequence[int]],
        *,
        adapter: Adapter | None = None,
        timeout: float | None = None,
    ) -> list[LogProbs]:
        """The log-probability of every token of each continuation of `prefix`: one float32 array a continuation."""
        self._check_tokens(prefix, *continuations)
        paths, results = continuation_paths(prefix, continuations)
        self._read(ReadingJob(paths, adapter, timeout))
        return results

    async def ascore(
        self,
        prefix: Sequence[int],
        continuations: Sequence[Sequence[int]],
        *,
        adapter: Adapter | None = None,
        timeout: float | None = None,
    ) -> list[LogProbs]:
        """As `score`, for asyncio."""
        self._check_tokens(prefix, *continuations)
        paths, results = continuation_paths(prefix, continuations)
        await self._aread(ReadingJob(paths, adapter, timeout))
        return results

    def close(self) -> None:
        """End every request with EngineClosedError and free the model. Safe to call twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def closed(self) -> bool:
        """Whether `close` has been called, or the engine's thread has broken down."""
        return self._closing

    # -- still the caller's thread -------------------------------------------------------------------------------------

    def _submit_reading(self, job: ReadingJob) -> Future[None]:
        self._check_length(job.longest)
        self._submit(job)
        return job.future

    def _read(self, job: ReadingJob) -> None:
        future = self._submit_reading(job)
        try:
            future.result()
        finally:
            job.control.cancel()

    async def _aread(self, job: ReadingJob) -> None:
        future = self._submit_reading(job)
        try:
            await asyncio.wrap_future(future)
        finally:
            job.control.cancel()

    def _check_tokens(self, *rows: Sequence[int]) -> None:
        # llama.cpp would refuse the whole step, and so fail everybody else's requests, too.
        for row in rows:
            if row and not 0 <= min(row) <= max(row) < self.model.n_vocab:
                raise InputError(
                    f"A token is not in the vocabulary of {self.model.path.name} (0 to {self.model.n_vocab - 1}); "
                    "tokenize with this engine's model."
                )

    def _check_length(self, tokens: int) -> None:
        if tokens > self.context:
            raise ContextOverflowError(
                f"The prompt needs {tokens} tokens and the context of {self.model.path.name} holds {self.context}; "
                "shorten the text or give the model a larger context in the pool file."
            )

    def _submit(self, job: Job) -> JobControl:
        if job.adapter is not None and job.adapter.path not in self.settings.adapters:
            raise ModelLoadError(f"The adapter {job.adapter.path} was not given to this engine's settings.")
        job.control.on_cancel = self._wake
        with self._changed:
            if self._closing:
                raise EngineClosedError(f"The engine of {self.model.path.name} is closed; open the pool again.")
            self._arrived.append(job)
            self.stats.requests += 1
            self._changed.notify()
        return job.control

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    # -- the engine's thread -------------------------------------------------------------------------------------------

    def _make_context(self) -> object:
        params = native.llama_context_default_params()
        threads = self.settings.threads or usable_cores()
        params.n_ctx = self._cells
        params.n_batch = params.n_ubatch = _BATCH
        params.n_seq_max = self._slots
        params.n_outputs_max = self._outputs
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = True
        # Flash attention skips the cells of other sequences; without it a shared cache costs a third of the speed.
        # What it sums over depends on where the cells lie, so texts decoded together differ in their rounding.
        params.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_ENABLED
        params.no_perf = True
        with captured_log() as log:
            pointer = native.llama_init_from_model(self.model.pointer, params)
        if not pointer:
            raise ModelLoadError(
                f"No context of {self._cells} tokens could be made for {self.model.path.name}: {reason(log)}. "
                "Lower context or cells in the pool file."
            )
        return pointer

    def _work(self) -> None:
        error: Exception = EngineClosedError(f"The engine of {self.model.path.name} was closed during this request.")
        try:
            while self._wait_for_work():
                self._drop_cancelled_and_late()
                self._admit()
                self._start_branches()
                self._step()
        except Exception as broken:  # a bug or a dying llama.cpp: nobody may be left waiting
            error = ModelCallError(f"The engine of {self.model.path.name} broke down: {broken!r}.")
            error.__cause__ = broken
        finally:
            with self._changed:
                self._closing = True
                self._queue.extend(self._arrived)
                self._arrived.clear()
            for job in [*(running.job for running in self._running), *self._queue]:
                self._fail(job, error)
            self._running.clear()
            self._queue.clear()
            self._batch.close()
            native.llama_free(self._pointer)
            self.model.close()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not (self._closing or self._arrived or self._queue or self._running):
                self._changed.wait()
            self._queue.extend(self._arrived)
            self._arrived.clear()
            return not self._closing

    def _drop_cancelled_and_late(self) -> None:
        for running in [each for each in self._running if self._is_over(each.job)]:
            self._release(running)
        if any(self._is_over(job) for job in self._queue):
            self._queue = deque(job for job in self._queue if not self._is_over(job))

    def _is_over(self, job: Job) -> bool:
        """Whether the caller has gone or the deadline has passed; tells the caller of a late one, once."""
        if job.control.cancelled:
            return True
        if job.control.is_late():
            self._fail(job, DeadlineError(f"{self.model.path.name} did not answer within the deadline of this call."))
            return True
        return False

    def _admit(self) -> None:
        """Give sequences and cells to waiting jobs, first come first served, so that none starves."""
        while self._queue and self._free_sequences:
            job = self._queue[0]
            cells = min(job.cells(), self._cells)
            if cells > self._free_cells:
                return
            self._queue.popleft()
            self._free_cells -= cells
            trunk = job.begin()
            trunk.sequence = self._free_sequences.pop()
            running = _Running(job, trunk, cells)
            self._running.append(running)
            self._retire_read_tracks(running)  # prompts with nothing in common have an empty trunk
            self.stats.most_running = max(self.stats.most_running, len(self._running))

    def _start_branches(self) -> None:
        """Fork the sequences of trunks that have been read; a branch without a free sequence borrows its trunk's."""
        for running in self._running:
            while running.waiting:
                # All branches of a job fit side by side, or else they go one after the other.
                alone = running.job.cells() > self._cells
                if (alone or not self._free_sequences) and running.tracks:
                    break
                track = running.waiting.popleft()
                if alone or not self._free_sequences:
                    track.sequence, track.borrowed = running.trunk.sequence, True
                else:
                    track.sequence = self._free_sequences.pop()
                    # Up to the trunk's end: beyond it there may be the tokens of a branch that borrows its sequence.
                    native.llama_memory_seq_cp(
                        self._memory, running.trunk.sequence, track.sequence, 0, running.trunk.read
                    )
                running.tracks.append(track)

    def _plan(self) -> list[tuple[Track, int]]:
        """Which tracks read how many tokens in the next step; all for one adapter, adapters taking turns."""
        adapters = list(dict.fromkeys(running.job.adapter for running in self._running))
        if not adapters:
            return []
        if self._last_adapter_turn in adapters:
            turn = adapters[(adapters.index(self._last_adapter_turn) + 1) % len(adapters)]
        else:
            turn = adapters[0]
        self._last_adapter_turn = turn
        tracks = [track for running in self._running if running.job.adapter == turn for track in running.tracks]
        # Generating tracks have one token left to read; they go first, and the rest of the room is for prompts.
        short = [track for track in tracks if track.left == 1]
        plan = [(track, 1) for track in short]
        room = min(_CHUNK, _BATCH - len(short)) if short else _BATCH
        outputs = self._outputs - len(short)
        for track in tracks:
            if track.left <= 1 or room <= 0:
                continue
            count = min(track.left, room)
            # Rows of logits wanted within this chunk.
            excess = track.read + count - max(track.first_output, track.read) - outputs
            if excess > 0:
                count -= excess
            if count > 0:
                plan.append((track, count))
                room -= count
                outputs -= max(0, track.read + count - max(track.first_output, track.read))
        return plan

    def _use_adapter(self, adapter: Adapter | None) -> None:
        if adapter == self._adapter:
            return
        if adapter is None:
            code = native.llama_set_adapters_lora(self._pointer, None, 0, None)
        else:
            pointers = (native.llama_adapter_lora_p_ctypes * 1)(self.model.adapter(adapter.path))
            scales = (ctypes.c_float * 1)(adapter.scale)
            code = native.llama_set_adapters_lora(self._pointer, pointers, 1, scales)
        if code != 0:
            raise RuntimeError(f"llama_set_adapters_lora returned {code}")
        self._adapter = adapter

    def _step(self) -> None:
        plan = self._plan()
        if not plan:
            return
        self._use_adapter(plan[0][0].job.adapter)
        self._batch.clear()
        outputs: list[tuple[Track, int]] = []
        for track, count in plan:
            self._batch.add(
                track.tokens[track.read : track.read + count], track.read, track.sequence, track.first_output
            )
            outputs += [(track, at) for at in range(max(track.read, track.first_output), track.read + count)]
            track.read += count
        code = native.llama_decode(self._pointer, self._batch.ready())
        self.stats.steps += 1
        if code != 0:
            self._fail_step(plan, code)
            return
        self.stats.tokens_read += self._batch.count
        if outputs:
            self._hand_out(outputs)
        # Whoever was cancelled meanwhile, or failed just now, goes before the next step.
        for running in [each for each in self._running if not each.job.control.cancelled]:
            self._retire_read_tracks(running)

    def _hand_out(self, outputs: Sequence[tuple[Track, int]]) -> None:
        """Give each job the logits that it wanted; one that cannot use them fails alone."""
        rows = np.ctypeslib.as_array(native.llama_get_logits(self._pointer), (len(outputs), self.model.n_vocab))
        for (track, position), row in zip(outputs, rows, strict=True):
            job = track.job
            if job.control.cancelled:
                continue
            if isinstance(job, GenerationJob):
                self.stats.tokens_generated += 1
            try:
                job.on_logits(track, position, row)
            except Exception as error:
                self._fail(job, self._broken_request(error))

    def _retire_read_tracks(self, running: _Running) -> None:
        for track in [track for track in running.tracks if track.left == 0]:
            running.tracks.remove(track)
            if track is running.trunk:
                running.waiting = deque(running.job.branches())
                self.stats.tokens_shared += running.job.shared_tokens()
            elif track.borrowed:
                native.llama_memory_seq_rm(self._memory, track.sequence, running.trunk.read, -1)
            else:
                self._free_sequence(track.sequence)
        if not running.tracks and not running.waiting:
            self._release(running)
            running.job.control.cancelled = True
            try:
                running.job.finish()
            except Exception as error:
                self._fail(running.job, self._broken_request(error))

    def _fail_step(self, plan: list[tuple[Track, int]], code: int) -> None:
        """A decode failed: nothing of what it touched can be trusted, so its jobs end with an error."""
        jobs = {id(track.job) for track, _ in plan}
        error = ModelCallError(
            f"llama.cpp could not decode a step of {self.model.path.name} (code {code}); "
            "lower the number of slots or raise cells in the pool file."
        )
        for running in [each for each in self._running if id(each.job) in jobs]:
            self._release(running)
            self._fail(running.job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        """Tell a job's caller; one whose `deliver` raises must not bring down the others."""
        job.control.cancelled = True
        self.stats.failed += 1
        with contextlib.suppress(Exception):
            job.fail(error)

    def _broken_request(self, cause: Exception) -> ModelCallError:
        error = ModelCallError(f"{self.model.path.name} could not go on with this request: {cause!r}.")
        error.__cause__ = cause
        return error

    def _release(self, running: _Running) -> None:
        """Give back everything that a job holds."""
        self._running.remove(running)
        for sequence in {running.trunk.sequence, *(track.sequence for track in running.tracks)}:
            self._free_sequence(sequence)
        self._free_cells += running.cells

    def _free_sequence(self, sequence: int) -> None:
        native.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        self._free_sequences.append(sequence)
