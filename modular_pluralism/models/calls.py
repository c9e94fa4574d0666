"""Calling models: every call has retries, a deadline, and a clear error at the end of them.

Nodes say *what* they want from a model as a `Call`; a `Caller` makes it happen, in a thread or in asyncio. So a node's
logic is written once, and graphs can be run by `invoke` as well as by `ainvoke`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from langchain_core.runnables import RunnableConfig
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from modular_pluralism.errors import DeadlineError, ModelCallError, PluralismError
from modular_pluralism.models.redaction import redact

T = TypeVar("T")

_backoff = wait_exponential_jitter(initial=0.5, max=20, jitter=0.5)


@dataclass(frozen=True)
class Call(Generic[T]):
    """Something to ask a model. `place` names the model in messages; `run` and `arun` do the same, once."""

    place: str
    run: Callable[[RunnableConfig], T]
    arun: Callable[[RunnableConfig], Awaitable[T]]


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a call returned, the seconds it took with its retries, and how often it was tried."""

    value: T
    seconds: float
    attempts: int


@dataclass(frozen=True)
class Caller:
    """Makes calls: at most `attempts` tries, and at most `deadline` seconds for all of them together.

    Transport errors, 408, 429 and 5xx are tried again, with exponential back-off, jitter, and the pause that the
    endpoint asks for; a bad request is not.
    """

    attempts: int = 3
    deadline: float = 300.0

    def call(self, call: Call[T], config: RunnableConfig) -> Outcome[T]:
        """Make a call from a thread.

        Raises:
            DeadlineError: the deadline passed.
            ModelCallError: it failed, and trying again did not help.
            PluralismError: whatever our own parts raise on purpose, as it is.
        """
        started = time.monotonic()
        abandoned = threading.Event()
        retrying = Retrying(**self._policy(), sleep=lambda seconds: _sleep(seconds, abandoned))
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(retrying(call.run, config))
            except BaseException as error:
                future.set_exception(error)

        # A thread of its own, since nothing else can end the wait for a peer that hangs. It is a daemon, and the
        # model has the same deadline as its time limit, so that what was abandoned ends by itself soon.
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(work,), name=f"call {call.place}", daemon=True).start()
        try:
            value = future.result(timeout=self.deadline)
        except FutureTimeoutError as error:
            if future.done():  # the call itself ended with a time-out
                raise self._failed(call, retrying, error) from error
            abandoned.set()
            raise self._late(call) from None
        except Exception as error:
            raise self._failed(call, retrying, error) from error
        return Outcome(value, time.monotonic() - started, _tries(retrying))

    async def acall(self, call: Call[T], config: RunnableConfig) -> Outcome[T]:
        """As `call`, in asyncio; cancelling the task cancels the call."""
        started = time.monotonic()
        retrying = AsyncRetrying(**self._policy())

        async def once() -> T:
            return await call.arun(config)

        try:
            async with asyncio.timeout(self.deadline) as timer:
                value = await retrying(once)
        except TimeoutError as error:
            raise (self._late(call) if timer.expired() else self._failed(call, retrying, error)) from error
        except Exception as error:
            raise self._failed(call, retrying, error) from error
        return Outcome(value, time.monotonic() - started, _tries(retrying))

    def _policy(self) -> dict[str, Any]:
        return {
            "stop": stop_after_attempt(self.attempts),
            "wait": _pause,
            "retry": retry_if_exception(is_transient),
            "reraise": True,
        }

    def _late(self, call: Call[Any]) -> DeadlineError:
        return DeadlineError(f"{call.place} did not answer within {self.deadline:g} seconds.")

    @staticmethod
    def _failed(call: Call[Any], retrying: Retrying | AsyncRetrying, error: Exception) -> PluralismError:
        if isinstance(error, PluralismError):
            return error
        tries = _tries(retrying)
        times = "" if tries == 1 else f" after {tries} attempts"
        return ModelCallError(f"{call.place} failed{times}: {describe(error)}{_mend(error)}")


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help."""
    if isinstance(error, PluralismError):
        return False
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status in (408, 429) or status >= 500
    return isinstance(error, ConnectionError | TimeoutError) or _is_transport(error)


def _is_transport(error: BaseException) -> bool:
    """Whether a connection failed. By name: openai and httpx have no base class in common, and either may be absent."""
    names = {each.__name__ for each in type(error).__mro__}
    return bool(names & {"APIConnectionError", "TransportError"})


def describe(error: BaseException) -> str:
    """An error of a model in one line, without keys."""
    status = getattr(error, "status_code", None)
    text = " ".join(redact(str(error)).split()) or type(error).__name__
    if _is_transport(error):
        return "it could not be reached"
    text = text if len(text) <= 300 else f"{text[:297]}..."
    return f"status {status}: {text}" if isinstance(status, int) and str(status) not in text else text


def _mend(error: BaseException) -> str:
    status = getattr(error, "status_code", None)
    if _is_transport(error):
        return "; check that the server runs and that base_url is right."
    if status in (401, 403):
        return "; check the API key."
    if status == 404:
        return "; check base_url and the model's name."
    return "."


def _tries(retrying: Retrying | AsyncRetrying) -> int:
    return int(retrying.statistics.get("attempt_number", 1))


def _pause(state: RetryCallState) -> float:
    """Seconds before the next try: what the endpoint asks for, else exponential back-off with jitter."""
    error = state.outcome.exception() if state.outcome is not None else None
    response = getattr(error, "response", None)
    asked = getattr(response, "headers", {}).get("retry-after", "")
    return min(float(asked), 60.0) if asked.replace(".", "", 1).isdigit() else _backoff(state)


def _sleep(seconds: float, abandoned: threading.Event) -> None:
    if abandoned.wait(seconds):
        raise DeadlineError("The deadline passed between two attempts.")
