"""The choice between several endpoints, and what becomes of calls that are spread over them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage

from modular_pluralism.graphs import build_distributional, build_overton
from modular_pluralism.models import calls
from modular_pluralism.models.endpoints import FIRST_COOL_DOWN, LONGEST_COOL_DOWN, PATIENCE, Endpoints, Verdict
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.models.spread_chat import EndpointError
from modular_pluralism.pool import Pool
from tests.fake_endpoint import FakeEndpoint, free_port

AB = ("a", "b")
PROMPT = [HumanMessage("Which one?")]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def endpoints(clock: Clock) -> Endpoints:
    return Endpoints(clock)


def one(endpoints: Endpoints, verdict: Verdict, addresses: tuple[str, ...] = AB, request: object = None) -> str:
    """A request on its own; the address at which it was."""
    taken = endpoints.take(addresses, request if request is not None else object())
    endpoints.give_back(taken, verdict, failed=verdict != "alive")
    return taken.address


# The choice


def test_idle_endpoints_take_turns(endpoints: Endpoints) -> None:
    assert [one(endpoints, "alive", ("a", "b", "c")) for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_the_one_with_the_fewest_requests_in_flight_is_taken(endpoints: Endpoints) -> None:
    first, second, third = (endpoints.take(AB, number) for number in range(3))
    assert [first.address, second.address, third.address] == ["a", "b", "a"]
    endpoints.give_back(first, "alive", failed=False)
    endpoints.give_back(third, "alive", failed=False)
    assert endpoints.take(AB, 3).address == "a", "b still has one"
    busy = Counter(endpoints.take(AB, number).address for number in range(4, 24))
    assert busy == {"a": 10, "b": 10}


def test_an_endpoint_that_is_gone_is_left_out_until_its_cool_down_is_over(endpoints: Endpoints, clock: Clock) -> None:
    assert one(endpoints, "dead") == "a"
    assert {one(endpoints, "alive") for _ in range(5)} == {"b"}
    clock.now += FIRST_COOL_DOWN
    trial = endpoints.take(AB, "trial")
    assert trial.address == "a"
    assert {endpoints.take(AB, number).address for number in range(5)} == {"b"}, "one trial at a time"
    endpoints.give_back(trial, "alive", failed=False)
    assert endpoints.take(AB, "next").address == "a"


def test_cool_downs_grow_to_a_bound(endpoints: Endpoints, clock: Clock) -> None:
    seen = []
    for _ in range(10):
        assert one(endpoints, "dead", ("a",)) == "a"
        seen.append(endpoints.wait(("a",)))
        clock.now += seen[-1]
    assert seen[:4] == [FIRST_COOL_DOWN, 2 * FIRST_COOL_DOWN, 4 * FIRST_COOL_DOWN, 8 * FIRST_COOL_DOWN]
    assert seen[-1] == LONGEST_COOL_DOWN
    one(endpoints, "alive", ("a",))
    one(endpoints, "dead", ("a",))
    assert endpoints.wait(("a",)) == FIRST_COOL_DOWN, "a good reply starts anew"


def test_shaky_replies_count_only_in_a_row(endpoints: Endpoints) -> None:
    for verdict in ("shaky", "shaky", "alive") * 3:
        one(endpoints, verdict, ("a",))
    assert endpoints.wait(("a",)) == 0
    for _ in range(PATIENCE):
        one(endpoints, "shaky", ("a",))
    assert endpoints.wait(("a",)) == FIRST_COOL_DOWN


def test_requests_that_die_together_count_once(endpoints: Endpoints) -> None:
    together = [endpoints.take(("a",), number) for number in range(6)]
    for each in together:
        endpoints.give_back(each, "dead", failed=True)
    assert endpoints.wait(("a",)) == FIRST_COOL_DOWN


def test_where_all_are_gone_the_first_to_come_back_is_tried(endpoints: Endpoints, clock: Clock) -> None:
    assert one(endpoints, "dead") == "a"
    clock.now += 0.5
    assert one(endpoints, "dead") == "b"
    assert endpoints.wait(AB) == FIRST_COOL_DOWN - 0.5
    assert one(endpoints, "dead") == "a", "tried at once, though its cool-down is not over"
    assert one(endpoints, "dead") == "b"


def test_a_request_that_was_given_up_tells_nothing(endpoints: Endpoints, clock: Clock) -> None:
    for _ in range(10):
        taken = endpoints.take(("a",), "x")
        endpoints.give_back(taken, "unknown", failed=False)
    assert endpoints.wait(("a",)) == 0
    one(endpoints, "dead")
    clock.now += FIRST_COOL_DOWN
    trial = next(taken for taken in (endpoints.take(AB, number) for number in range(2)) if taken.on_trial)
    endpoints.give_back(trial, "unknown", failed=False)
    assert endpoints.take(AB, "again").on_trial, "the trial is still to be made"


def test_an_endpoint_that_wants_a_rest_gets_it(endpoints: Endpoints, clock: Clock) -> None:
    taken = endpoints.take(AB, "x")
    endpoints.give_back(taken, "alive", failed=True, rest=30)
    assert endpoints.wait(AB) == 0
    assert endpoints.wait((taken.address,)) == 30
    assert {one(endpoints, "alive") for _ in range(5)} == {"b"}
    clock.now += 30
    assert {one(endpoints, "alive") for _ in range(5)} == {"a", "b"}


def test_a_retry_goes_to_each_of_the_others_first(endpoints: Endpoints) -> None:
    three = ("a", "b", "c")
    places = [one(endpoints, "shaky", three, "question") for _ in range(4)]
    assert sorted(places[:3]) == ["a", "b", "c"]
    assert places[3] == places[0], "then to the one whose failure is the longest ago"


@given(st.lists(st.tuples(st.sampled_from(["take", "alive", "shaky", "dead", "unknown", "wait"]), st.integers(0, 99))))
def test_whatever_happens_every_request_finds_a_place_and_nothing_is_left_in_flight(
    events: list[tuple[str, int]],
) -> None:
    clock = Clock()
    endpoints = Endpoints(clock)
    stays: list[Any] = []
    for event, number in events:
        if event == "wait":
            clock.now += number / 10
        elif event == "take" or not stays:
            stays.append(endpoints.take(("a", "b", "c"), number % 5))
        else:
            verdict: Any = event
            endpoints.give_back(stays.pop(number % len(stays)), verdict, failed=event != "alive")
    for stay in stays:
        endpoints.give_back(stay, "alive", failed=False)
    clock.now += 2 * LONGEST_COOL_DOWN
    assert all(known.in_flight == 0 and not known.on_trial for known in endpoints._known.values())
    assert endpoints.wait(("a", "b", "c")) == 0


def test_many_threads_share_what_is_known() -> None:
    endpoints = Endpoints()

    def work(number: int) -> str:
        taken = endpoints.take(("a", "b", "c", "d"), number)
        endpoints.give_back(taken, "shaky" if number % 7 == 0 else "alive", failed=number % 7 == 0)
        return taken.address

    with ThreadPoolExecutor(16) as workers:
        places = Counter(workers.map(work, range(2000)))
    assert sum(places.values()) == 2000
    assert all(known.in_flight == 0 for known in endpoints._known.values())


# Calls over real endpoints


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual back-off is shortened; what an endpoint asks for is kept."""
    monkeypatch.setattr(calls, "_backoff", lambda state: 0.01)


@pytest.fixture
def pair() -> Iterator[tuple[FakeEndpoint, FakeEndpoint]]:
    with FakeEndpoint().running() as first, FakeEndpoint().running() as second:
        yield first, second


def spread_pool(*addresses: str, settings: str = "") -> Pool:
    """A base LLM and three communities, each at all the addresses."""
    names = ("boss", "north", "east", "south")
    where = ", ".join(f'"{address}"' for address in addresses)
    models = "".join(f'[models.{name}]\nopenai = "{name}"\nbase_url = [{where}]\n{settings}\n' for name in names)
    communities = "".join(f'[communities.{n}]\nmodel = "{n}"\ndescription = "The {n}"\n' for n in names[1:])
    return Pool.from_toml(
        f'base = "boss"\n{models}{communities}[run]\ndeadline = 60.0\n', source="far.toml", folder=Path()
    )


@pytest.mark.parametrize("asynchronous", [False, True])
def test_calls_are_spread(pair: tuple[FakeEndpoint, FakeEndpoint], asynchronous: bool) -> None:
    graph = build_overton(spread_pool(*(each.address for each in pair))).compile()
    for _ in range(2):
        asked = {"question": "Why?"}
        result = asyncio.run(graph.ainvoke(asked)) if asynchronous else graph.invoke(asked)
        assert result["answer"] == "The view of boss."
        assert result["missing"] == []
        assert result["usage"]["completion_tokens"] == 3
    counts = [len(each.requests) for each in pair]
    assert sum(counts) == 8
    assert min(counts) >= 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_spread_call_is_streamed_and_traced_like_any_other(
    pair: tuple[FakeEndpoint, FakeEndpoint], asynchronous: bool
) -> None:
    seen: list[dict[str, Any]] = []

    class Tracer(BaseCallbackHandler):
        def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
            seen.append({**kwargs["metadata"], **kwargs["invocation_params"]})

    graph = build_overton(spread_pool(*(each.address for each in pair))).compile()
    modes: Any = ["messages", "values"]
    config: Any = {"callbacks": [Tracer()]}
    said: Counter[str] = Counter()

    async def run() -> list[Any]:
        return [each async for each in graph.astream({"question": "Why?"}, config, stream_mode=modes)]

    events = asyncio.run(run()) if asynchronous else list(graph.stream({"question": "Why?"}, config, stream_mode=modes))
    data: Any
    for mode, data in events:
        if mode == "messages":
            said[data[1]["langgraph_node"]] += bool(data[0].text)
    assert said == {"north": 4, "east": 4, "south": 4, "merge": 4}
    assert all(each.body["stream"] for endpoint in pair for each in endpoint.requests)
    assert {each["ls_provider"] for each in seen} == {"openai"}
    assert {each["ls_model_name"] for each in seen} == {"boss", "north", "east", "south"}
    assert {each["model"] for each in seen} == {"boss", "north", "east", "south"}


def test_labels_are_read_over_several_endpoints(pair: tuple[FakeEndpoint, FakeEndpoint]) -> None:
    for each in pair:
        each.behave("boss", "logprobs")
    pool = spread_pool(*(each.address for each in pair))
    result = build_distributional(pool, scoring="rotate").compile().invoke({"question": "Why?", "options": ["x", "y"]})
    assert sum(result["distribution"]) == pytest.approx(1)
    assert result["label_mass"] == pytest.approx(0.8)
    assert all(len(each.asked("boss")) >= 2 for each in pair)


def test_a_dead_endpoint_costs_one_try_and_is_left_alone_then(pair: tuple[FakeEndpoint, FakeEndpoint]) -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1"
    pool = spread_pool(dead, pair[0].address)
    models = PoolModels(pool)
    graph = build_overton(pool, models=models).compile()
    tries = 0
    for _ in range(3):
        result = graph.invoke({"question": "Why?"})
        assert result["missing"] == []
        tries += result["usage"]["attempts"] + sum(each["attempts"] for each in result["comments"].values())
    assert 12 < tries <= 12 + 6
    assert len(pair[0].requests) == 12


def test_what_is_known_of_endpoints_is_shared_by_event_loops(pair: tuple[FakeEndpoint, FakeEndpoint]) -> None:
    dead = f"http://127.0.0.1:{free_port()}/v1"
    models = PoolModels(spread_pool(dead, pair[0].address))

    async def ask() -> str:
        return str((await models.base().chat.ainvoke(PROMPT)).text)

    with pytest.raises(EndpointError, match=f"{dead}: it could not be reached; check that the server runs there"):
        asyncio.run(ask())
    assert asyncio.run(ask()) == "The view of boss."
    assert models.community("east").chat.invoke(PROMPT).text == "The view of east."


def test_an_endpoint_that_comes_back_is_found_again() -> None:
    with FakeEndpoint().running() as shaky, FakeEndpoint().running() as steady:
        shaky.behave("*", "broken", "broken", "broken", "ok")
        chat = PoolModels(spread_pool(shaky.address, steady.address)).base().chat
        said = set()
        until = time.monotonic() + 30
        while len(shaky.requests) < 5 and time.monotonic() < until:
            try:
                assert chat.invoke([HumanMessage(str(time.monotonic()))]).text == "The view of boss."
            except EndpointError as error:
                said.add(str(error))
            time.sleep(0.02)
        assert len(shaky.requests) >= 5
        assert said == {f"{shaky.address}: status 500: our mistake"}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_busy_endpoint_sends_the_retry_elsewhere_at_once(
    pair: tuple[FakeEndpoint, FakeEndpoint], asynchronous: bool
) -> None:
    busy, free = pair
    busy.behave("*", "busy")
    graph = build_overton(spread_pool(busy.address, free.address)).compile()
    started = time.monotonic()
    asked = {"question": "Why?"}
    result = asyncio.run(graph.ainvoke(asked)) if asynchronous else graph.invoke(asked)
    assert time.monotonic() - started < 25, "the endpoint asked for 30 seconds"
    assert result["missing"] == []
    assert len(free.requests) == 4


def test_where_all_are_busy_the_call_waits_for_the_first_that_is_free(pair: tuple[FakeEndpoint, FakeEndpoint]) -> None:
    for each in pair:
        each.behave("*", "busy")
    chat = PoolModels(spread_pool(*(each.address for each in pair))).base().chat
    pauses = []
    for _ in range(2):
        with pytest.raises(EndpointError, match="status 429: busy") as caught:
            chat.invoke(PROMPT)
        pauses.append(float(caught.value.response.headers["retry-after"]))
    assert pauses[0] == 0
    assert 20 < pauses[1] <= 30


@pytest.mark.parametrize("behaviour", ["unauthorized", "not_found", "bad_request"])
def test_a_refusal_does_not_make_an_endpoint_dead(pair: tuple[FakeEndpoint, FakeEndpoint], behaviour: Any) -> None:
    for each in pair:
        each.behave("east", behaviour)
    pool = spread_pool(*(each.address for each in pair))
    models = PoolModels(pool)
    for _ in range(4):
        result = build_overton(pool, models=models).compile().invoke({"question": "Why?"})
        assert result["missing"] == ["east"]
        assert result["comments"]["north"]["attempts"] == 1
    assert f"{pair[0].address}: status 4" in result["comments"]["east"]["error"] or (
        f"{pair[1].address}: status 4" in result["comments"]["east"]["error"]
    )
    assert sum(len(each.asked("east")) for each in pair) == 4, "and it is not tried again"
    assert min(len(each.requests) for each in pair) >= 4


@pytest.mark.parametrize("behaviour", ["hang", "stalls", "ends_early", "broken_chunks", "garbage", "no_choices", "cut"])
@pytest.mark.parametrize("streamed", [False, True])
def test_what_one_endpoint_spoils_another_one_answers(
    pair: tuple[FakeEndpoint, FakeEndpoint], behaviour: Any, streamed: bool
) -> None:
    bad, good = pair
    bad.behave("*", behaviour)
    graph = build_overton(spread_pool(bad.address, good.address, settings="try_seconds = 1.0")).compile()
    if streamed:
        *_, result = (data for mode, data in graph.stream({"question": "Why?"}, stream_mode=["messages", "values"]))
    else:
        result = graph.invoke({"question": "Why?"})
    assert isinstance(result, dict)
    assert result["missing"] == []
    assert {said["text"] for said in result["comments"].values()} == {f"The view of {n}." for n in result["comments"]}
    assert bad.requests


def test_a_call_that_no_endpoint_answers_names_the_last_of_them(pair: tuple[FakeEndpoint, FakeEndpoint]) -> None:
    for each in pair:
        each.behave("east", "broken")
    result = build_overton(spread_pool(*(each.address for each in pair))).compile().invoke({"question": "Why?"})
    error = result["comments"]["east"]["error"]
    where = f"model 'east' (east at {pair[0].address} or {pair[1].address})"
    assert error in {f"{where} failed after 3 attempts: {each.address}: status 500: our mistake." for each in pair}
    assert {len(each.asked("east")) for each in pair} == {1, 2}


async def test_a_cancelled_call_says_nothing_against_its_endpoint(pair: tuple[FakeEndpoint, FakeEndpoint]) -> None:
    for each in pair:
        each.behave("east", "hang")
    models = PoolModels(spread_pool(*(each.address for each in pair)))
    for _ in range(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await models.community("east").chat.ainvoke(PROMPT)
    assert [known.in_flight for known in models._endpoints._known.values()] == [0, 0]
    assert models._endpoints.wait([pair[0].address]) == models._endpoints.wait([pair[1].address]) == 0


def test_a_long_list_of_endpoints_is_named_in_short() -> None:
    pool = spread_pool(*(f"http://me:secret-word@host{number}/v1" for number in range(9)))
    models = PoolModels(pool)
    assert models.base().place == "model 'boss' (boss at http://host0/v1 or one of 8 others)"
    for shown in (repr(pool), repr(models.base()), str(models.base().chat)):
        assert "secret-word" not in shown


def test_passwords_of_addresses_are_sent_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with FakeEndpoint().running() as endpoint:
        address = endpoint.address.replace("://", "://me:canary%21word@")
        pool = spread_pool(address, "http://127.0.0.1:9/v1")
        models = PoolModels(pool)
        models.base().chat.invoke(PROMPT)
        asyncio.run(PoolModels(pool).base().chat.ainvoke(PROMPT))
        assert {each.headers["authorization"] for each in endpoint.requests} == {"Basic bWU6Y2FuYXJ5IXdvcmQ="}
        assert len(endpoint.requests) == 2
        assert "canary" not in caplog.text + repr(models.base())
