"""Calls of models: retries, back-off, the deadline, cancelling, and what errors say."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import openai
import pytest
from langchain_core.runnables import RunnableConfig

from modular_pluralism.errors import DeadlineError, EngineClosedError, ModelCallError, PluralismError
from modular_pluralism.graphs import build_overton
from modular_pluralism.models import calls
from modular_pluralism.models.calls import Call, Caller, CallResult, describe, is_transient
from modular_pluralism.models.redaction import keep_secret, redact
from tests.fake_models import FakeChat, always, fake_models, fake_pool, wait_until

Make = Callable[[Caller, Call[str]], CallResult[str]]


def made_sync(caller: Caller, call: Call[str]) -> CallResult[str]:
    return caller.call(call, {})


def made_async(caller: Caller, call: Call[str]) -> CallResult[str]:
    return asyncio.run(caller.acall(call, {}))


both_ways = pytest.mark.parametrize("make", [made_sync, made_async])


class Scripted:
    """Something to ask: one thing after another is returned or raised, the last one for ever."""

    def __init__(self, *script: str | BaseException) -> None:
        self.script = list(script)
        self.tries = 0

    def run(self, config: RunnableConfig) -> str:
        self.tries += 1
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(said, BaseException):
            raise said
        return said

    async def arun(self, config: RunnableConfig) -> str:
        return self.run(config)

    @property
    def call(self) -> Call[str]:
        return Call("model 'm'", self.run, self.arun)


def status_error(status: int, message: str = "no", headers: dict[str, str] | None = None) -> openai.APIStatusError:
    response: Any = httpx.Response(status, headers=headers, request=httpx.Request("POST", "http://far.example"))
    body = {"message": message}
    return openai.APIStatusError(f"Error code: {status} - {body}", response=response, body=body)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made; none is longer than a moment."""
    made: list[float] = []
    pause = calls.pause

    def short(error: Exception, tries: int) -> float:
        made.append(pause(error, tries))
        return 0.001

    monkeypatch.setattr(calls, "pause", short)
    return made


@both_ways
@pytest.mark.parametrize(
    "error",
    [ConnectionError("gone"), TimeoutError(), httpx.ConnectError("x"), httpx.ReadTimeout("x")]
    + [status_error(status) for status in (408, 429, 500, 502, 503)],
    ids=str,
)
def test_what_may_pass_is_tried_again(make: Make, error: Exception, pauses: list[float]) -> None:
    asked = Scripted(error, error, "yes")
    outcome = make(Caller(attempts=3), asked.call)
    assert (outcome.value, outcome.attempts, asked.tries) == ("yes", 3, 3)
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 1.5
    assert outcome.seconds >= 0.002


@both_ways
@pytest.mark.parametrize(
    "error",
    [status_error(status) for status in (400, 401, 403, 404, 413, 422)] + [ValueError("odd"), RuntimeError("odd")],
    ids=str,
)
def test_what_will_not_pass_is_tried_once(make: Make, error: Exception, pauses: list[float]) -> None:
    asked = Scripted(error)
    with pytest.raises(ModelCallError) as caught:
        make(Caller(attempts=3), asked.call)
    assert (asked.tries, pauses) == (1, [])
    assert "attempts" not in str(caught.value)
    assert caught.value.__cause__ is error


@both_ways
def test_the_last_attempt_ends_it(make: Make, pauses: list[float]) -> None:
    asked = Scripted(status_error(503, "we are full."))
    with pytest.raises(ModelCallError) as caught:
        make(Caller(attempts=4), asked.call)
    assert str(caught.value) == "model 'm' failed after 4 attempts: status 503: we are full."
    assert asked.tries == 4


@both_ways
def test_the_first_attempt_counts_as_one(make: Make) -> None:
    assert make(Caller(attempts=1), Scripted("yes").call).attempts == 1


@both_ways
@pytest.mark.parametrize(
    ("asked_for", "pause"),
    [("7", 7), ("2.5", 2.5), ("0", 0), ("9999", 60)],
)
def test_the_pause_that_an_endpoint_asks_for_is_made(
    make: Make, asked_for: str, pause: float, pauses: list[float]
) -> None:
    make(Caller(), Scripted(status_error(429, headers={"Retry-After": asked_for}), "yes").call)
    assert pauses == [pause]


@pytest.mark.parametrize("odd", ["", "soon", "-3", "²", "1e9", "nan", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_an_odd_retry_after_leaves_the_back_off(odd: str, pauses: list[float]) -> None:
    error = status_error(429)
    error.response.headers = {"retry-after": odd}  # type: ignore[assignment]
    made_sync(Caller(), Scripted(error, "yes").call)
    assert 0.5 <= pauses[0] <= 1.0


@both_ways
def test_our_own_errors_come_through_as_they_are(make: Make) -> None:
    error = EngineClosedError("closed")
    asked = Scripted(error)
    with pytest.raises(PluralismError) as caught:
        make(Caller(attempts=3), asked.call)
    assert caught.value is error
    assert asked.tries == 1


# Mistakes


MISTAKES = [
    *(AttributeError("x"), TypeError("x"), NameError("x"), KeyError("x"), IndexError("x"), AssertionError("x")),
    *(NotImplementedError(), RecursionError(), SyntaxError(), ImportError(), ZeroDivisionError(), LookupError("x")),
]


@both_ways
@pytest.mark.parametrize("error", MISTAKES, ids=repr)
def test_a_mistake_in_what_is_asked_comes_through_as_it_is_with_its_place(make: Make, error: Exception) -> None:
    asked = Scripted(error)
    with pytest.raises(type(error)) as caught:
        make(Caller(attempts=3), asked.call)
    assert caught.value is error
    assert asked.tries == 1
    assert error.__notes__ == ["Raised by model 'm'."]
    assert any(entry.name == "run" and str(entry.path) == __file__ for entry in caught.traceback), "where it was made"


@both_ways
def test_a_script_that_has_run_out_is_a_mistake(make: Make) -> None:
    with pytest.raises((StopIteration, RuntimeError)) as caught:
        make(Caller(), Scripted(StopIteration()).call)
    assert not isinstance(caught.value, PluralismError)


@both_ways
def test_a_clients_error_with_a_status_is_no_mistake(make: Make) -> None:
    class NotFoundError(LookupError):
        status_code = 404

    with pytest.raises(ModelCallError, match="status 404: no such thing"):
        make(Caller(), Scripted(NotFoundError("no such thing")).call)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("who", ["north", "boss"])
def test_a_mistake_in_an_applications_model_ends_the_run(who: str, asynchronous: bool) -> None:
    mistaken = FakeChat(say=lambda seen: seen.no_such_thing)  # type: ignore[attr-defined]
    models = fake_models(always("Well."), ("north", "east"), **{who: mistaken})
    graph = build_overton(fake_pool(("north", "east")), models=models).compile()
    asked: Any = {"question": "Why?"}
    with pytest.raises(AttributeError, match="no_such_thing") as caught:
        asyncio.run(graph.ainvoke(asked)) if asynchronous else graph.invoke(asked)
    place = ", asked for the community north" if who == "north" else ""
    assert f"Raised by model '{who}'{place}." in caught.value.__notes__


# The deadline


def test_a_hanging_call_is_left_behind_at_the_deadline() -> None:
    release, ended = threading.Event(), threading.Event()

    def hang(config: RunnableConfig) -> str:
        release.wait(60)
        ended.set()
        raise ConnectionError("gone")

    tries: list[int] = []
    with pytest.raises(DeadlineError) as caught:
        Caller(attempts=3, deadline=0.2).call(Call("model 'm'", lambda c: (tries.append(1), hang(c))[1], None), {})  # type: ignore[arg-type,func-returns-value]
    assert not ended.is_set(), "it is not waited for"
    assert str(caught.value) == (
        "model 'm' did not answer within 0.2 seconds; check it, or raise deadline in the pool's [run] table."
    )
    # What was left behind ends by itself, and does not try again.
    release.set()
    assert ended.wait(60)
    assert wait_until(lambda: not [each for each in threading.enumerate() if each.name == "call model 'm'"])
    assert tries == [1]


async def test_a_hanging_coroutine_is_cancelled_at_the_deadline() -> None:
    cancelled = asyncio.Event()

    async def hang(config: RunnableConfig) -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return ""

    with pytest.raises(DeadlineError, match=r"did not answer within 0\.2 seconds; check it"):
        await Caller(attempts=3, deadline=0.2).acall(Call("model 'm'", None, hang), {})  # type: ignore[arg-type]
    assert cancelled.is_set()


async def test_a_blocking_thread_does_not_hold_up_the_deadline_in_asyncio() -> None:
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(60)
        ended.set()

    async def hang(config: RunnableConfig) -> str:
        await asyncio.get_running_loop().run_in_executor(None, work)
        return ""

    try:
        with pytest.raises(DeadlineError):
            await Caller(deadline=0.2).acall(Call("model 'm'", None, hang), {})  # type: ignore[arg-type]
        assert not ended.is_set()
    finally:
        release.set()


async def test_an_error_in_answer_to_the_deadline_is_the_deadline() -> None:
    async def hang(config: RunnableConfig) -> str:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            raise RuntimeError("interrupted") from None
        return ""

    with pytest.raises(DeadlineError):
        await Caller(deadline=0.1).acall(Call("model 'm'", None, hang), {})  # type: ignore[arg-type]


@both_ways
def test_the_deadline_covers_the_pauses_and_tells_what_went_wrong_before(make: Make) -> None:
    asked = Scripted(status_error(429, "slow down", {"Retry-After": "30"}))
    with pytest.raises(DeadlineError) as caught:
        make(Caller(attempts=3, deadline=0.3), asked.call)
    assert "within 0.3 seconds (attempt 1 of 3; before: status 429: slow down); check it" in str(caught.value)
    assert asked.tries == 1


@both_ways
def test_a_time_out_of_the_call_itself_is_not_the_deadline(make: Make, pauses: list[float]) -> None:
    with pytest.raises(ModelCallError, match=r"failed after 2 attempts: read timed out\.$"):
        make(Caller(attempts=2), Scripted(TimeoutError("read timed out")).call)


def test_a_call_leaves_no_thread_behind() -> None:
    Caller().call(Scripted("yes").call, {})
    assert wait_until(lambda: not [each for each in threading.enumerate() if each.name.startswith("call ")])


# Cancelling


async def test_cancelling_is_neither_swallowed_nor_tried_again() -> None:
    started = asyncio.Event()
    tries: list[int] = []

    async def hang(config: RunnableConfig) -> str:
        tries.append(1)
        started.set()
        await asyncio.sleep(30)
        return ""

    task = asyncio.create_task(Caller(attempts=3).acall(Call("model 'm'", None, hang), {}))  # type: ignore[arg-type]
    await asyncio.wait_for(started.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tries == [1]


async def test_cancelling_ends_a_pause() -> None:
    asked = Scripted(status_error(429, headers={"Retry-After": "30"}))
    task = asyncio.create_task(Caller().acall(asked.call, {}))
    while not asked.tries:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


# What errors say


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (status_error(401, "no such key"), "status 401: no such key; check the API key."),
        (status_error(403, "not for you"), "status 403: not for you; check the API key."),
        (status_error(404, "no model x"), "status 404: no model x; check base_url and the model's name."),
        (status_error(400, "a\n very\n\n odd. "), "status 400: a very odd."),
        (
            httpx.ConnectError("[Errno 111]"),
            "it could not be reached; check that the server runs and that base_url is right.",
        ),
        (
            httpx.ReadTimeout("x"),
            "it did not answer in time; check that the server runs and that base_url is right.",
        ),
        (
            httpx.RemoteProtocolError("x"),
            "the connection broke off; check that the server runs and that base_url is right.",
        ),
        (ValueError(), "ValueError."),
        (ValueError("x" * 1000), "x" * 297 + "...."),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_error_is_one_line_that_names_the_model_and_the_mend(error: Exception, sentence: str) -> None:
    with pytest.raises(ModelCallError) as caught:
        Caller(attempts=1).call(Scripted(error).call, {})
    assert str(caught.value) == f"model 'm' failed: {sentence}"


def test_a_wrapped_connection_error_tells_its_cause() -> None:
    request: Any = httpx.Request("POST", "http://far.example")
    error = openai.APIConnectionError(request=request)
    error.__cause__ = httpx.RemoteProtocolError("x")
    assert describe(error) == "the connection broke off"
    assert describe(openai.APITimeoutError(request)) == "it did not answer in time"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(), EngineClosedError("x")])
def test_what_ends_a_program_or_an_engine_is_never_transient(error: BaseException) -> None:
    assert not is_transient(error)


@both_ways
def test_no_message_and_no_traceback_shows_a_key(make: Make) -> None:
    keep_secret("sk-canary-in-calls")
    error = status_error(401, "Incorrect API key: sk-canary-in-calls")
    with pytest.raises(ModelCallError) as caught:
        make(Caller(attempts=1), Scripted(error).call)
    assert "Incorrect API key: ***; check the API key." in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "canary" not in shown


@both_ways
def test_no_traceback_shows_a_key_of_a_deeper_cause(make: Make) -> None:
    keep_secret("sk-canary-deeper")
    error = ConnectionError("gone")
    error.__cause__ = ValueError("Illegal header value b'Bearer sk-canary-deeper'")
    with pytest.raises(ModelCallError) as caught:
        make(Caller(attempts=1), Scripted(error).call)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_redacting_takes_the_longest_key_first_and_leaves_placeholders() -> None:
    keep_secret("long-key")
    keep_secret("long-key-and-more")
    keep_secret("at")
    assert redact("that is long-key-and-more, not long-key") == "that is ***, not ***"


def test_context_variables_reach_the_call() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    call = Call("model 'm'", lambda config: variable.get(), _never)
    assert Caller().call(call, {}).value == "set"


def _never(config: RunnableConfig) -> Awaitable[str]:
    raise AssertionError("not asked in this way")
