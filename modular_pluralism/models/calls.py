"""Calling models: every call has retries, a deadline, and a clear error at the end of them.

Nodes say *what* they want from a model as a `Call`; a `Caller` makes it happen, in a thread or in asyncio. So a node's
logic is written once, and graphs can be run by `invoke` as well as by `ainvoke`.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from types import FrameType
from typing import Any, Generic, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential, wait_random

from modular_pluralism.errors import DeadlineError, ModelCallError, PluralismError
from modular_pluralism.models.redaction import redact
from modular_pluralism.models.refusals import reason, shortened
from modular_pluralism.models.spans import Asked, call_span

T = TypeVar("T")

backoff = wait_exponential(multiplier=0.5, max=20) + wait_random(0, 0.5)
"""Seconds before another try where the endpoint names none: exponential, with jitter."""


@dataclass(frozen=True)
class Call(Generic[T]):
    """Something to ask a model. `place` names the model in messages; `run` and `arun` do the same, once; `asked` is
    what the call's span says of it (None: there is no span). `stage` tells that it is a stage of the application's
    own, and none of those who answer."""

    place: str
    run: Callable[[RunnableConfig], T]
    arun: Callable[[RunnableConfig], Awaitable[T]]
    asked: Callable[[], Asked] | None = None
    stage: bool = False


@dataclass(frozen=True)
class CallResult(Generic[T]):
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

    def call(self, call: Call[T], config: RunnableConfig) -> CallResult[T]:
        """Make a call from a thread.

        Raises:
            DeadlineError: the deadline passed.
            ModelCallError: it failed, and trying again did not help.
            PluralismError: whatever our own parts raise on purpose, as it is.
            GraphBubbleUp: the model has interrupted the run, or sends it elsewhere.
            TypeError, AttributeError, …: a mistake in the code that was asked (see `is_mistake`), as it is.
        """
        started, tries, future = time.monotonic(), _Tries(self.attempts), Future[T]()
        abandoned = threading.Event()

        def work() -> None:
            try:
                future.set_result(tries.of(call.run, config, abandoned))
            except BaseException as error:
                future.set_exception(error)

        with call_span(call.asked, config) as span:
            # A thread of its own, since nothing else can end the wait for a peer that hangs. It is a daemon, and the
            # model has the same deadline as its time limit, so that what was abandoned ends by itself soon.
            context = contextvars.copy_context()
            threading.Thread(target=context.run, args=(work,), name=f"call {call.place}", daemon=True).start()
            try:
                wait([future], timeout=self.deadline)
            finally:
                abandoned.set()  # whatever ended the wait (Ctrl+C, too): nobody wants another try
            if not future.done():
                raise self._late(call, tries)
            try:
                value = future.result()
            except Exception as error:
                if _as_it_is(error, call, config):
                    raise
                raise self._failed(call, tries, error) from _shown(error)
            span.answered(value, tries.made)
        return CallResult(value, time.monotonic() - started, tries.made)

    async def acall(self, call: Call[T], config: RunnableConfig) -> CallResult[T]:
        """As `call`, in asyncio; cancelling the task cancels the call."""
        started, tries = time.monotonic(), _Tries(self.attempts)
        with call_span(call.asked, config) as span:
            try:
                async with asyncio.timeout(self.deadline) as timer:
                    value = await tries.aof(call.arun, config)
            except Exception as error:
                if timer.expired():  # whatever the model made of being cancelled
                    raise self._late(call, tries) from None
                if _as_it_is(error, call, config):
                    raise
                raise self._failed(call, tries, error) from _shown(error)
            span.answered(value, tries.made)
        return CallResult(value, time.monotonic() - started, tries.made)

    def _late(self, call: Call[Any], tries: _Tries) -> DeadlineError:
        before = f" (attempt {tries.made} of {self.attempts}; before: {tries.reason})" if tries.reason else ""
        return DeadlineError(
            f"{call.place} did not answer within {self.deadline:g} seconds{before}; check it, or raise deadline in the "
            "pool's [run] table."
        )

    @staticmethod
    def _failed(call: Call[Any], tries: _Tries, error: Exception) -> ModelCallError:
        times = "" if tries.made == 1 else f" after {tries.made} attempts"
        return ModelCallError(f"{call.place} failed{times}: {describe(error)}{_mend(error)}.")


class _Tries:
    """The tries of one call: how many were `made` of those that are `allowed`, and the `reason` that one has failed.
    (Tenacity's own count cannot be read from another thread than the one that tries.)

    Nearly every call needs one try only, which is made without Tenacity: it costs more than the rest of a call.
    """

    def __init__(self, allowed: int) -> None:
        self.allowed, self.made, self.reason = allowed, 1, ""

    def of(self, ask: Callable[[RunnableConfig], T], config: RunnableConfig, abandoned: threading.Event) -> T:
        """What a thread is answered, before it is `abandoned`."""
        try:
            return ask(config)
        except Exception as error:
            known = [error]

        def again() -> T:
            if known:
                raise known.pop()
            return ask(config)

        return Retrying(**self._policy(), sleep=lambda seconds: _sleep(seconds, abandoned))(again)

    async def aof(self, ask: Callable[[RunnableConfig], Awaitable[T]], config: RunnableConfig) -> T:
        """As `of`, in asyncio."""
        try:
            return await ask(config)
        except Exception as error:
            known = [error]

        async def again() -> T:
            if known:
                raise known.pop()
            return await ask(config)

        value: T = await AsyncRetrying(**self._policy())(again)
        return value

    def _policy(self) -> dict[str, Any]:
        return {
            "stop": stop_after_attempt(self.allowed),
            "wait": pause,
            "retry": retry_if_exception(is_transient),
            "before": self._starts,
            "before_sleep": self._failed,
            "reraise": True,
        }

    def _starts(self, state: RetryCallState) -> None:
        self.made = state.attempt_number

    def _failed(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        self.reason = "" if error is None else describe(error)


_MISTAKES = (
    *(ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, NotImplementedError),
    *(RecursionError, StopAsyncIteration, StopIteration, SyntaxError, TypeError),
)


def is_mistake(error: BaseException) -> bool:
    """Whether an error tells of wrong code, and not of a provider, a connection, a context or a deadline.

    The replies of endpoints are checked where they arrive (see RemoteChat), so that no reply causes one. An
    application's own chat model may be less careful: what its client's own code says of a reply is no mistake.
    """
    if isinstance(getattr(error, "status_code", None), int):  # some clients make theirs subclasses of Python's
        return False
    if _of_a_reply(error):
        return False
    ended = isinstance(error.__cause__, StopIteration | StopAsyncIteration)  # what Python makes of it in a coroutine
    return isinstance(error, _MISTAKES) or (type(error) is RuntimeError and ended)


def _is_plain(error: Exception) -> bool:
    """Whether an error is Python's ValueError or RuntimeError itself, and comes from no model: parsers of bad replies
    have their own kinds of these, such as JSONDecodeError."""
    modules = (str(frame.f_globals.get("__name__")) for frame in _frames(error))
    return type(error) in (ValueError, RuntimeError) and not any(
        name.startswith("langchain_core.language_models") for name in modules
    )


ODD_REPLY = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError)
"""What a client's code says of a reply that it takes for something else."""

_TOOLS = {*sys.stdlib_module_names, "langchain_core", "pydantic"}
"""Packages that do what they are told: whoever has called them is at fault."""


def _of_a_reply(error: BaseException) -> bool:
    """Whether a provider's client (openai, langchain_openai and the like) has stumbled over a reply: its code is where
    the error was made."""
    if not isinstance(error, ODD_REPLY):
        return False
    made = next((package for package in map(_package, reversed(_frames(error))) if package not in _TOOLS), "")
    return made in ("openai", "anthropic", "httpx", "httpx2") or made.startswith("langchain_")


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _package(frame: FrameType) -> str:
    """The package whose code that is; of what a class has from LangChain, the package of that class."""
    package = str(frame.f_globals.get("__name__")).partition(".")[0]
    mine = package == "langchain_core" and "self" in frame.f_locals
    return type(frame.f_locals["self"]).__module__.partition(".")[0] if mine else package


def _as_it_is(error: Exception, call: Call[Any], config: RunnableConfig) -> bool:
    """Whether an error is to come through as it is. A mistake gets a note that says where it was made."""
    # LangGraph's own are no failures: a model that interrupts the run, or sends it elsewhere.
    if isinstance(error, PluralismError | GraphBubbleUp):
        return True
    if not (is_mistake(error) or (call.stage and _is_plain(error))):
        return False
    community = (config.get("metadata") or {}).get("community")
    note = f"Raised by {call.place}, asked for the community {community}." if community else f"Raised by {call.place}."
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
    return True


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help."""
    if isinstance(error, PluralismError | GraphBubbleUp):
        return False
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return status in (408, 429) or status >= 500
    return isinstance(error, ConnectionError | TimeoutError) or _is_transport(error)


def _is_transport(error: BaseException) -> bool:
    """Whether a connection failed. By name: openai and httpx have no base class in common, and either may be absent."""
    return bool(_names(error) & {"APIConnectionError", "TransportError"})


def _names(error: BaseException) -> set[str]:
    """Names of an error's classes."""
    return {each.__name__ for each in type(error).__mro__}


def _chain(error: BaseException) -> list[BaseException]:
    """The error, and what it was raised from."""
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _shown(error: BaseException) -> BaseException | None:
    """The error as the cause of ours, unless a traceback would then show a key."""
    return None if any(redact(str(each)) != str(each) for each in _chain(error)) else error


def describe(error: BaseException) -> str:
    """An error of a model in one line, without keys and without a full stop."""
    if _is_transport(error):
        names = set[str]().union(*map(_names, _chain(error)))
        if names & {"APITimeoutError", "TimeoutException"}:
            return "it did not answer in time"
        return "the connection broke off" if names & _BROKEN else "it could not be reached"
    if _of_a_reply(error):
        return f"its reply could not be read ({type(error).__name__}: {shortened(redact(str(error)))})"
    status = getattr(error, "status_code", None)
    text = shortened(redact(reason(getattr(error, "body", None)) or reason(str(error))))
    text = text or type(error).__name__
    return f"status {status}: {text}" if isinstance(status, int) and str(status) not in text else text


_BROKEN = {"RemoteProtocolError", "ReadError", "WriteError"}


def _mend(error: BaseException) -> str:
    """What to do next, as the end of a sentence."""
    status = getattr(error, "status_code", None)
    if _is_transport(error):
        return "; check that the server runs and that base_url is right"
    if status in (401, 403):
        return "; check the API key"
    if status == 404:
        return "; check base_url and the model's name"
    return ""


def pause(state: RetryCallState) -> float:
    """Seconds before the next try: what the endpoint asks for, else `backoff`."""
    error = state.outcome.exception() if state.outcome is not None else None
    response = getattr(error, "response", None)
    asked = str(getattr(response, "headers", {}).get("retry-after", ""))
    return min(float(asked), 60.0) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", asked) else backoff(state)


def _sleep(seconds: float, abandoned: threading.Event) -> None:
    if abandoned.wait(seconds):
        raise DeadlineError("The deadline passed between two attempts.")
