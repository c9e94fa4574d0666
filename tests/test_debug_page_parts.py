"""The page without a browser: who is let in, what a run's boxes show, how prompts are checked and kept."""

from __future__ import annotations

import asyncio
import re
from graphlib import TopologicalSorter
from html import unescape
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from nicegui import Client, core
from nicegui.page import page
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from modular_pluralism.debugger.events import (
    CallMade,
    NodeEnded,
    NodeRetried,
    NodeStarted,
    NodeToken,
    RunEnded,
    RunStarted,
)
from modular_pluralism.debugger.export import run_as_html
from modular_pluralism.debugger.history import KeptRun, Superstep
from modular_pluralism.debugger.live import start_run
from modular_pluralism.debugger.page.elements import visible
from modular_pluralism.debugger.page.live_runs import LiveRuns
from modular_pluralism.debugger.page.progress import RunProgress
from modular_pluralism.debugger.page.request_guard import RequestGuard
from modular_pluralism.debugger.page.run_prompts import problems_of, save_prompt
from modular_pluralism.debugger.page.server import VIEWS, check_host
from modular_pluralism.debugger.page.tab import Tab
from modular_pluralism.debugger.records import CallRecord
from modular_pluralism.errors import InputError, PromptError
from modular_pluralism.graphs.shape import GraphNode
from modular_pluralism.modes import find_mode
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.run_table import ListedRun
from modular_pluralism.runs.setup import Setup
from tests.command import python
from tests.debugging import finished, followed, open_bench
from tests.fake_models import SEARCH, CallingChat

LOCAL = {"host": "127.0.0.1:8090"}


def front(*, others: bool = False) -> TestClient:
    async def page(_: object) -> PlainTextResponse:
        return PlainTextResponse("the page")

    async def socket(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    return TestClient(RequestGuard(Starlette(routes=[Route("/", page), WebSocketRoute("/ws", socket)]), others=others))


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "[::1]:8090", "LOCALHOST"])
def test_local_names_are_let_in(host: str) -> None:
    reply = front().get("/", headers={"host": host})
    assert reply.text == "the page"
    assert "default-src 'self'" in reply.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8090", "localhost.evil.example", "192.168.1.7", ""]
)
def test_a_foreign_name_is_refused(host: str) -> None:
    reply = front().get("/", headers={"host": host})
    assert reply.status_code == 403
    assert "localhost" in reply.text


def test_another_sites_page_cannot_speak_to_ours() -> None:
    assert front().get("/", headers={**LOCAL, "origin": "http://evil.example"}).status_code == 403
    assert front(others=True).get("/", headers={"host": "box:8090", "origin": "http://evil.example"}).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        front().websocket_connect("/ws", headers={**LOCAL, "origin": "http://e.com"}),
    ):
        pass
    with front().websocket_connect("/ws", headers={**LOCAL, "origin": "http://127.0.0.1:8090"}):
        pass


def test_others_are_let_in_only_where_somebody_says_so() -> None:
    with pytest.raises(InputError, match=r"no login.*--let-others-in"):
        check_host("0.0.0.0", others=False)
    check_host("0.0.0.0", others=True)
    check_host("::1", others=False)
    assert front(others=True).get("/", headers={"host": "box:8090"}).status_code == 200


def test_the_end_waits_for_no_thread() -> None:
    done = python(
        "import asyncio, threading\n"
        "from modular_pluralism.debugger.page.server import WorkThreads, end_process\n"
        "async def load():\n"
        "    asyncio.get_running_loop().set_default_executor(WorkThreads())\n"
        "    loading = asyncio.create_task(asyncio.to_thread(threading.Event().wait))\n"
        "    await asyncio.sleep(0.1)\n"
        "asyncio.run(load())\n"
        "print('Stopped.')\n"
        "end_process(130)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "Stopped.\n", "")


def comment(name: str, **parts: Any) -> dict[str, Any]:
    whole = {
        "community": name,
        "text": "Yes.",
        "error": None,
        "finish_reason": "stop",
        "prompt_tokens": 120,
        "cached_tokens": 80,
        "completion_tokens": 7,
        "seconds": 1.5,
        "attempts": 2,
    }
    return {"comments": {name: {**whole, **parts}}}


def call(node: str) -> CallRecord:
    return CallRecord(
        run="r",
        number=1,
        node=node,
        community=node,
        role="comment",
        kind="chat",
        reply="Yes.",
        finish_reason="stop",
        prompt_tokens=120,
        completion_tokens=7,
        cached_tokens=80,
        seconds=1.5,
        attempts=2,
    )


def node(id: str, role: str, community: str | None, after: list[str]) -> GraphNode:
    return GraphNode(id, id, role, community, [], after, None)


def begun() -> RunProgress:
    progress = RunProgress("r")
    nodes = [node("check", "check", None, []), node("ada", "comment", "ada", ["check"])]
    progress.take(RunStarted("r", [*nodes, node("merge", "merge", None, ["ada"])]))
    return progress


def test_a_box_waits_works_speaks_and_is_done() -> None:
    progress = begun()
    assert progress["ada"].state == "waiting"
    progress.take(NodeStarted("ada"))
    assert progress["ada"].state == "started"
    progress.take(NodeToken("ada", "No, "))
    assert (progress["ada"].state, progress["ada"].text) == ("speaking", "No, ")
    progress.take(NodeRetried("ada", 2, "it broke off"))
    assert progress["ada"].text == ""
    progress.take(NodeToken("ada", "Yes."))
    progress.take(CallMade("ada", call("ada")))
    progress.take(NodeEnded("ada", "finished", 1.5, comment("ada")))
    ada = progress["ada"]
    assert (ada.state, ada.text, ada.said, ada.attempts) == ("finished", "Yes.", 7, 2)
    assert "7 tokens said" in ada.costs
    assert "120 read (80 from the cache)" in ada.costs
    assert "2 tries" in ada.costs


def test_a_community_that_fails_says_why_and_the_run_goes_on() -> None:
    progress = begun()
    progress.take(NodeStarted("ada"))
    progress.take(NodeEnded("ada", "failed", 0.5, error="model 'demo' gave an empty reply."))
    assert (progress["ada"].state, progress["ada"].error) == ("failed", "model 'demo' gave an empty reply.")
    assert not progress.done


def test_what_a_fork_keeps_is_told_apart() -> None:
    progress = begun()
    progress.take(NodeEnded("ada", "reused", 0.0, comment("ada"), source="parent"))
    progress.take(NodeStarted("merge"))
    progress.take(NodeEnded("merge", "finished", 1.0, {"answer": "All say yes."}))
    progress.take(RunEnded("finished", 1.0, {"answer": "All say yes."}))
    assert (progress["ada"].state, progress["ada"].source) == ("reused", "parent")
    assert progress["merge"].text == "All say yes."
    assert progress.state == "finished"


def test_a_stopped_run_leaves_no_box_at_work() -> None:
    progress = begun()
    progress.take(NodeStarted("ada"))
    progress.take(RunEnded("stopped", 2.0))
    assert {name: progress[name].state for name in ("ada", "merge")} == {"ada": "stopped", "merge": "stopped"}


def test_a_past_run_is_shown_like_one_that_was_watched() -> None:
    state = {"question": "q", **comment("ada"), "answer": "Yes."}
    progress = RunProgress("r")
    progress.fill(kept("finished", state, ["check", "ada", "merge"]), [call("ada")])
    assert (progress["ada"].state, progress["merge"].state, progress["check"].state) == ("finished",) * 3
    assert progress["ada"].said == 7
    assert progress.done


def test_a_run_of_another_process_goes_on() -> None:
    progress = RunProgress("r")
    progress.fill(kept("running", {"question": "q"}, ["check"]), [])
    assert (progress["ada"].state, progress["check"].state) == ("waiting", "finished")
    assert not progress.done


def kept(state: Any, values: dict[str, Any], ran: list[str]) -> KeptRun:
    listed = ListedRun("r", 0.0, "overton", "q", 1, state, 1, None)
    pool, prompts = Pool.load("perspective"), PromptSet.load()
    setup = Setup.of("overton", "rotate", {"question": "q"}, ("perspective", pool), (None, prompts))
    return KeptRun(listed, setup, find_mode("overton").nodes(("ada",)), [Superstep(0, "", ran, values)], {})


def test_a_prompt_is_checked_in_words_that_help() -> None:
    merge = PromptSet.load()["merge"]
    assert problems_of(merge, merge.text) == []
    assert problems_of(merge, "[user]\n{question}") == ["{comments} is missing: put it where its text belongs."]
    unknown = problems_of(merge, "[user]\n{question} {comments} {colour}")
    assert unknown == ["{colour} is not known here; remove it, or write {{colour}} for literal braces."]
    assert len(problems_of(merge, "{colour}")) == 3
    assert problems_of(merge, "") != []
    assert problems_of(merge, "[user]\n{question} {comments} {") != []


def test_a_prompt_is_saved_as_the_next_version(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    merge = PromptSet.load()["merge"]
    first = save_prompt(folder, merge, "[user]\nOne: {question} {comments}")
    assert first == folder / "merge.txt"
    loaded = PromptSet.load(folder)["merge"]
    assert (loaded.version, loaded.text.strip()) == (merge.version + 1, "[user]\nOne: {question} {comments}")
    save_prompt(folder, merge, "[user]\nTwo: {question} {comments}")
    assert PromptSet.load(folder)["merge"].version == merge.version + 2
    assert "One:" in (folder / f".merge.{merge.version + 1}.txt").read_text()


def test_built_in_prompts_are_never_written(tmp_path: Path) -> None:
    merge = PromptSet.load()["merge"]
    built_in = Path(merge.path).parent
    before = Path(merge.path).read_bytes()
    (tmp_path / "link").symlink_to(built_in)
    for folder in (built_in, built_in / "mine", tmp_path / "link"):
        with pytest.raises(PromptError, match="stay as they are"):
            save_prompt(folder, merge, "[user]\n{question} {comments}")
    with pytest.raises(PromptError, match="missing"):
        save_prompt(tmp_path / "mine", merge, "[user]\n{question}")
    assert not (tmp_path / "mine").exists()
    assert Path(merge.path).read_bytes() == before


def test_nothing_on_the_page_takes_html() -> None:
    folder = Path(str(files("modular_pluralism.debugger.page")))
    for source in [*folder.glob("*.py"), *folder.glob("*.js")]:
        found = re.findall(r"ui\.html|ui\.markdown|ui\.chat_message|innerHTML|sanitize|v-html", source.read_text())
        assert not found, (source.name, found)


def test_no_file_of_the_debugger_leads_back_to_itself() -> None:
    folder = Path(str(files("modular_pluralism.debugger")))
    imported = re.compile(r"from modular_pluralism\.debugger\.([\w.]+) import")
    leads_to = {
        ".".join(source.relative_to(folder).with_suffix("").parts): imported.findall(
            source.read_text().replace("page import elements as el", "page.elements import")
        )
        for source in folder.rglob("*.py")
    }
    assert set(TopologicalSorter(leads_to).static_order()) == set(leads_to)  # raises a CycleError


def test_what_cannot_be_shown_or_sent_is_left_out() -> None:
    assert visible("a\x00b\x1b[31m\ud800c\n\td\x7f é 𝄞") == "ab[31mc\n\td é 𝄞"


@pytest.mark.parametrize("view", [view.name for view in VIEWS])
async def test_calls_of_tools_stand_where_an_answer_would(
    tmp_path: Path, view: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "loop", asyncio.get_running_loop())
    called = 'search({"words": "wages"})'
    async with open_bench(tmp_path, boss=CallingChat(say=lambda seen: "x")) as bench:
        live = await start_run(bench.store, bench.request(tools=[SEARCH]), models=bench.models)
        finished((await followed(live))[-1])
        exported = await run_as_html(bench.store, live.run, models=bench.models)
        assert unescape(exported).count(called) == 2, "as the result, and as what the merge has said"
    runs = LiveRuns(str(bench.pool), None, find_location(tmp_path / "runs.sqlite"), 10.0)
    async with runs.open():
        with Client(page("/"), request=None) as client:
            tab = Tab(runs, VIEWS, live.run, view, "")
            tab.build()
            await tab._load()
            await tab.go(view)
        shown = [str(getattr(element, "_text", "")) for element in client.elements.values()]
    assert (called in shown) == (view in ("run", "look", "time"))
