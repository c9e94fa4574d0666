"""An engine: one loaded model, one thread that decodes for everybody, and the calls that give it work.

`llama_cpp.Llama` decodes one sequence at a time. A community pool asks the same weights for many comments at once, so
here one decode carries the next token of every running sequence (see `scheduler`), and what prompts share is read once
(see `prefix_reuse`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from functools import partial
from typing import TypeVar

from modular_pluralism.errors import (
    EngineClosedError,
    EngineFullError,
    InputError,
    ModelCallError,
    ModelLoadError,
)
from modular_pluralism.llama.generation import Event, Finish, GenerationJob, GenerationRequest, Piece
from modular_pluralism.llama.job import Adapter, Job, JobControl
from modular_pluralism.llama.memory import plan_memory
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.reading import LogProbs, ReadingJob, ReadingRequest, next_tokens
from modular_pluralism.llama.scheduler import Scheduler
from modular_pluralism.llama.settings import EngineSettings, EngineStats

T = TypeVar("T")


class Engine:
    """Loads one GGUF and serves any number of concurrent requests for it, from threads and from asyncio.

    Raises:
        ModelLoadError: the model or an adapter cannot be loaded.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.stats = EngineStats()
        self.memory = plan_memory(settings)
        self.model = ModelFile(settings.gguf, settings.hardware, self.memory)
        try:
            for adapter in settings.adapters:
                self.model.load_adapter(adapter)
            self._scheduler = Scheduler(self.model, settings, self.stats, self.memory)
        except BaseException:
            self.model.close()
            raise
        self.context = self._scheduler.length
        self._changed = threading.Condition()
        self._arrived: deque[Job] = deque()
        self._closing = False
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._work, name=f"engine {settings.gguf.name}", daemon=True)
        self._thread.start()

    # -- what callers use, from any thread ---------------------------------------------------------------------------

    def submit_generation(self, request: GenerationRequest, deliver: Callable[[Event], None]) -> JobControl:
        """Start a generation; `deliver` gets its events on the engine's thread and must not block.

        Raises:
            ContextOverflowError: the prompt leaves no room for a single token.
            InputError: a token is not in the vocabulary.
            EngineClosedError: the engine has been closed.
            EngineFullError: too many requests are waiting.
        """
        return self._submit(self._job(request, deliver))

    def stream(self, request: GenerationRequest) -> Iterator[Piece | Finish]:
        """Generate a text and yield its pieces, then how it finished. Leaving the loop early cancels it."""
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        with self.submit_generation(request, events.put):
            while True:
                event = events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finish):
                    return

    async def astream(self, request: GenerationRequest) -> AsyncIterator[Piece | Finish]:
        """As `stream`, for asyncio; cancelling the task cancels the generation."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def deliver(event: Event) -> None:
            # The loop may be gone when a request was abandoned with it; there is nobody left to tell.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(events.put_nowait, event)

        with await self._asubmit(request, deliver):
            while True:
                event = await events.get()
                if isinstance(event, Exception):
                    raise event
                yield event
                if isinstance(event, Finish):
                    return

    def generate(self, request: GenerationRequest) -> list[Piece | Finish]:
        """Generate a text and return everything that `stream` would yield.

        Cheaper than streaming: nobody is woken up before the end, and on a machine whose cores all decode, whoever
        handles every token by itself slows down the decoding.
        """
        future: Future[list[Piece | Finish]] = Future()
        with self.submit_generation(request, _collector(future)):
            return future.result()

    async def agenerate(self, request: GenerationRequest) -> list[Piece | Finish]:
        """As `generate`, for asyncio; cancelling the task cancels the generation."""
        future: Future[list[Piece | Finish]] = Future()
        with await self._asubmit(request, _collector(future)):
            return await asyncio.wrap_future(future)

    def next_token_logprobs(
        self, prompts: Sequence[Sequence[int]], *, adapter: Adapter | None = None, timeout: float | None = None
    ) -> LogProbs:
        """Log-probabilities (natural log) of the token after each prompt: float32 [len(prompts), n_vocab].

        They are read one after the other, each from where it differs from the one before; other requests run beside
        them.
        """
        return self.read(next_tokens(prompts, self.model.n_vocab), adapter=adapter, timeout=timeout)

    def read(self, reading: ReadingRequest[T], *, adapter: Adapter | None = None, timeout: float | None = None) -> T:
        """The result of a reading: of `next_tokens`, `continuations` or `prompt_tokens`.

        Raises:
            InputError: there is nothing to read, or a token is not in the vocabulary.
            ContextOverflowError, EngineClosedError, EngineFullError: see `submit_generation`.
        """
        jobs = self._submit_reading(reading, adapter, timeout)
        with _stopped_at_the_end(jobs):
            for job in jobs:
                job.future.result()
        return reading.result

    async def aread(
        self, reading: ReadingRequest[T], *, adapter: Adapter | None = None, timeout: float | None = None
    ) -> T:
        """As `read`, for asyncio; cancelling the task cancels the reading."""
        jobs = self._submit_reading(reading, adapter, timeout)
        with _stopped_at_the_end(jobs):
            await asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs))
        return reading.result

    def close(self) -> None:
        """End every request with EngineClosedError and free the model. Safe to call twice. In a forked process there is
        nothing to do: what the other one has loaded is its own."""
        if self._process != os.getpid():
            return
        with self._changed:
            self._closing = True
            self._changed.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def closed(self) -> bool:
        """Whether `close` has been called, the engine's thread has broken down, or it stayed with the process that this
        one was forked from."""
        return self._closing or self._process != os.getpid()

    # -- still the caller's thread -------------------------------------------------------------------------------------

    async def _asubmit(self, request: GenerationRequest, deliver: Callable[[Event], None]) -> JobControl:
        """As `submit_generation`; a grammar, which may take seconds to read, does not hold up the event loop."""
        make = partial(self._job, request, deliver)
        return self._submit(make() if request.grammar is None else await asyncio.to_thread(make))

    def _job(self, request: GenerationRequest, deliver: Callable[[Event], None]) -> GenerationJob:
        self._check_tokens(request.tokens)
        self._check_length(len(request.tokens) + 1)
        bare = self.model.bare_length(request.adapter, request.tokens)
        return GenerationJob(request, self.model, self.context, deliver, bare)

    def _submit_reading(
        self, reading: ReadingRequest[T], adapter: Adapter | None, timeout: float | None
    ) -> list[ReadingJob]:
        """One job; or, where an activated adapter leaves to others what stands before its invocation, one for each
        path, so that each can go on from wherever its beginning has been read."""
        self._check_tokens(*reading.rows)
        for path in reading.paths:
            path.bare = self.model.bare_length(adapter, path.tokens)
        parts = [[path] for path in reading.paths] if any(path.bare for path in reading.paths) else [reading.paths]
        jobs = [ReadingJob(part, adapter, timeout) for part in parts]
        self._check_length(max(job.longest for job in jobs))
        with contextlib.ExitStack() as stopping:
            for job in jobs:
                stopping.enter_context(self._submit(job))
            stopping.pop_all()
        return jobs

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
            raise self.model.overflow(tokens, self.context)

    def _submit(self, job: Job) -> JobControl:
        if job.adapter is not None and job.adapter.path not in self.settings.adapters:
            raise ModelLoadError(f"The adapter {job.adapter.path} was not given to this engine's settings.")
        job.control.on_cancel = self._wake
        if self._process != os.getpid():  # nobody would answer, and who held the lock may be gone
            raise EngineClosedError(
                f"The engine of {self.model.path.name} was left behind when this process was forked; open the model "
                "again here, or start processes by spawn."
            )
        with self._changed:
            if self._closing:
                raise EngineClosedError(f"The engine of {self.model.path.name} is closed; open the pool again.")
            if len(self._arrived) + self._scheduler.waiting >= self.settings.queue:
                raise EngineFullError(
                    f"{self.settings.queue} requests are waiting for {self.model.path.name} already; ask for fewer at "
                    "a time, or raise queue in the pool file."
                )
            self._arrived.append(job)
            self.stats.requests += 1
            self._changed.notify()
        return job.control

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()

    # -- the engine's thread -------------------------------------------------------------------------------------------

    def _work(self) -> None:
        error: Exception = EngineClosedError(f"The engine of {self.model.path.name} was closed during this request.")
        try:
            while self._wait_for_work():
                self._scheduler.step()
        except Exception as broken:  # a bug or a dying llama.cpp: nobody may be left waiting
            error = ModelCallError(f"The engine of {self.model.path.name} broke down: {broken!r}.")
            error.__cause__ = broken
        finally:
            with self._changed:
                self._closing = True
                for job in self._arrived:
                    self._scheduler.add(job)
                self._arrived.clear()
            self._scheduler.end(error)
            self.model.close()

    def _wait_for_work(self) -> bool:
        with self._changed:
            while not (self._closing or self._arrived or self._scheduler.has_work()):
                self._changed.wait()
            for job in self._arrived:
                self._scheduler.add(job)
            self._arrived.clear()
            return not self._closing


@contextlib.contextmanager
def _stopped_at_the_end(jobs: Iterable[Job]) -> Iterator[None]:
    with contextlib.ExitStack() as stopping:
        for job in jobs:
            stopping.enter_context(job.control)
        yield


def _collector(future: Future[list[Piece | Finish]]) -> Callable[[Event], None]:
    """A `deliver` that keeps the events to itself until the last one."""
    events: list[Piece | Finish] = []

    def deliver(event: Event) -> None:
        # The future is cancelled where the caller has gone; there is nobody left to tell.
        with contextlib.suppress(InvalidStateError):
            if isinstance(event, Exception):
                future.set_exception(event)
                return
            events.append(event)
            if isinstance(event, Finish):
                future.set_result(events)

    return deliver
