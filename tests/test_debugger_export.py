"""A run as JSON, as HTML and as Python."""

from __future__ import annotations

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.debugger.export import run_as_html, run_as_json
from modular_pluralism.debugger.fork import ForkRequest, start_fork
from modular_pluralism.debugger.history import read_run
from modular_pluralism.debugger.live import RunRequest, start_run
from modular_pluralism.debugger.snippet import run_as_python
from modular_pluralism.runs.edits import AddedCommunity, Edits
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.opening import open_run_store
from tests.debugging import NAMES, followed, open_bench
from tests.fake_models import FakeChat, always, scripted
from tests.test_debugger_model import POOL, QUESTION

NASTY = "<script>alert('x')</script><img src=x onerror=alert(1)> & \u202e \x07 {{ 7919 * 7907 }} ''' \"\"\" \\"


class Seen(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("mode", ["overton", "steerable", "distributional"])
async def test_a_run_as_json_has_everything(tmp_path: Path, mode: str) -> None:
    async with open_bench(tmp_path) as bench:
        live = await start_run(bench.store, bench.request(mode), models=bench.models)
        await followed(live)
        told = json.loads(await run_as_json(bench.store, live.run, models=bench.models))
        kept = await read_run(bench.store, live.run)
    assert (told["format"], told["version"]) == ("modular-pluralism/run", 1)
    assert told["state"] == kept.state
    assert told["run"]["id"] == live.run
    assert told["setup"]["mode"] == mode
    assert {call["node"] for call in told["calls"]} >= set(NAMES)
    assert told["steps"][0]["step"] == -1
    assert "build_" in told["python"]


@pytest.mark.parametrize("mode", ["overton", "steerable", "distributional"])
async def test_a_page_shows_text_as_text_and_runs_nothing(tmp_path: Path, mode: str) -> None:
    async with open_bench(tmp_path, ann=always(NASTY), bob=FakeChat(say=scripted(ValueError(NASTY)))) as bench:
        more = {"options": [NASTY, "No"]} if mode == "distributional" else {}
        request = bench.request(mode, question=f"Why? {NASTY}", **more)
        live = await start_run(bench.store, request, run="one", models=bench.models)
        await followed(live)
        edits = Edits(comments={"cem": NASTY}, personas={"ann": NASTY}, priors={"ann": 2.0})
        fork = await start_fork(bench.store, ForkRequest(run="one", edits=edits), run="two", models=bench.models)
        await followed(fork)
        for run in ("one", "two"):
            page = await run_as_html(bench.store, run, models=bench.models)
            seen = Seen(page)
            assert not {"script", "img", "iframe", "link", "object"} & set(seen.tags)
            assert not [
                name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "href", "style")
            ]
            assert "<script>alert('x')</script>" in seen.text
            assert "62615533" not in seen.text  # nothing was computed; no time of day looks like it
            assert "\u202e" not in page
            assert "⟨U+202E⟩" in page
            assert "default-src 'none'" in page
            assert seen.tags.count("html") == 1


async def test_a_page_of_a_run_that_failed(tmp_path: Path) -> None:
    async with open_bench(tmp_path, boss=always(ValueError("out of order"))) as bench:
        live = await start_run(bench.store, bench.request(), models=bench.models)
        await followed(live)
        page = await run_as_html(bench.store, live.run, models=bench.models)
        told = json.loads(await run_as_json(bench.store, live.run, models=bench.models))
    assert "out of order" in page
    assert "There is none." in page
    assert "The view of ann." in page
    assert told["run"]["state"] == "failed"


async def test_a_snippet_holds_texts_as_literals(tmp_path: Path) -> None:
    added = AddedCommunity(model="ann", description=NASTY, persona=NASTY)
    async with open_bench(tmp_path) as bench:
        await followed(await start_run(bench.store, bench.request(question=NASTY), run="one", models=bench.models))
        edits = Edits(comments={"ann": NASTY}, added={"dee": added}, dropped=["cem"])
        fork = await start_fork(bench.store, ForkRequest(run="one", edits=edits), models=bench.models)
        await followed(fork)
        code = run_as_python(fork.run, (await read_run(bench.store, fork.run)).setup)
    seen: dict[str, Any] = {}

    class Graph:
        def compile(self) -> Graph:
            return self

        def invoke(self, question: dict[str, Any]) -> dict[str, Any]:
            seen["asked"] = question
            return {"answer": "yes"}

    def build(pool: Any, **more: Any) -> Graph:
        seen.update(pool=pool, **more)
        return Graph()

    compiled = compile(code, "snippet", "exec")
    import modular_pluralism

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modular_pluralism, "build_overton", build, raising=False)
        exec(compiled, {})
    assert seen["asked"]["question"] == NASTY
    assert seen["comments"] == {"ann": NASTY}
    assert list(seen["pool"].communities) == ["ann", "bob", "dee"]
    assert seen["pool"].persona_text("dee", seen["prompts"]) == NASTY.strip()


async def test_a_snippet_gives_the_same_answer_again(tmp_path: Path) -> None:
    (tmp_path / "pool.toml").write_text(POOL)
    async with open_run_store(find_location(tmp_path / "runs.sqlite"), 30.0) as store:
        request = RunRequest(question=QUESTION, pool=str(tmp_path / "pool.toml"), seed=1)
        await followed(await start_run(store, request, run="one"))
        edits = Edits(comments={"left": 'It\'s "fine".'}, dropped=["centre"])
        await followed(await start_fork(store, ForkRequest(run="one", edits=edits), run="two"))
        kept = await read_run(store, "two")
    (tmp_path / "again.py").write_text(run_as_python("two", kept.setup), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "again.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n") == kept.state["answer"]
