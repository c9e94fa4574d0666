"""Keeping, listing, showing, resuming and removing runs, against a real endpoint over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from modular_pluralism.cli.terminal_view import TerminalView
from modular_pluralism.pool import Pool
from modular_pluralism.runs import StoreError, open_store
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.model_files import model_digests
from modular_pluralism.runs.opening import open_run_store
from modular_pluralism.runs.run_table import RunTable
from modular_pluralism.runs.sqlite_store import SqliteSaver
from modular_pluralism.types import Comment
from tests.fake_endpoint import FakeEndpoint
from tests.kept_runs import KEY, MODES, NAMES, QUICK, SLOW, Kept, start_anew


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with FakeEndpoint().running() as endpoint:
        kept = Kept(tmp_path, endpoint)
        kept.write_pool()
        yield kept


@pytest.mark.parametrize("mode", MODES)
def test_a_finished_run_is_printed_again_without_asking_anybody(kept: Kept, mode: str) -> None:
    first = kept.result(*kept.ask("one", mode))
    asked = kept.asked()
    again = kept.command("resume", "one", "--json")
    assert json.loads(again.out) == first
    assert "finished already" in again.err
    assert kept.asked() == asked
    assert first["thread"] == "one"
    assert list(first["comments"]) == NAMES
    (listed,) = kept.result("runs", "--json")["runs"]
    assert {key: listed[key] for key in ("id", "mode", "question", "state", "answered", "error")} == {
        **{"id": "one", "mode": mode, "question": "Is it so?", "state": "finished", "answered": 6, "error": None}
    }


def test_a_name_is_used_once(kept: Kept) -> None:
    kept.result(*kept.ask("one"))
    again = kept.command(*kept.ask("one"))
    assert again.code == 1
    assert "pluralism resume one" in again.err
    assert "cannot be a run's name" in kept.command(*kept.ask("../one")).err
    assert "cannot be a run's name" in kept.command("runs", "show", "\udcff").err


@pytest.mark.parametrize("mode", MODES)
def test_without_a_quorum_only_those_that_failed_are_asked_again(kept: Kept, mode: str) -> None:
    for name in SLOW:
        kept.endpoint.behave(name, "bad_request")
    failed = kept.command(*kept.ask("one", mode))
    assert failed.code == 1
    assert "3 of 6 communities answered, and the quorum is 4" in failed.err
    shown = kept.result("runs", "show", "one", "--json")
    assert shown["state"] == "failed"
    assert shown["missing"] == SLOW
    assert all(shown["comments"][name]["text"] for name in QUICK)
    assert "failed after 6 of 6 communities: 3 of 6" in " ".join(kept.command("runs").out.split())
    for name in SLOW:
        kept.endpoint.behave(name, "logprobs")
    result = kept.result("resume", "one", "--json")
    assert result["missing"] == []
    assert {name: kept.asked()[name] for name in NAMES} == {**dict.fromkeys(QUICK, 1), **dict.fromkeys(SLOW, 2)}
    assert kept.result("runs", "show", "one", "--json")["state"] == "finished"


def test_a_run_of_votes_goes_on_with_those_that_failed(kept: Kept) -> None:
    for name in SLOW:
        kept.endpoint.behave(name, "bad_request")
    failed = kept.command(*kept.ask("one", "distributional"), "--voice", "vote")
    assert failed.code == 1
    assert "3 of 6 communities answered, and the quorum is 4" in failed.err
    before = kept.asked()
    for name in SLOW:
        kept.endpoint.behave(name, "logprobs")
    result = kept.result("resume", "one", "--json")
    assert result["missing"] == []
    assert sorted(result["distributions"]) == sorted(NAMES)
    more = {name: count - before[name] for name, count in kept.asked().items()}
    assert [name for name, count in more.items() if count] == [name for name in NAMES if name in SLOW]
    assert kept.asked()["boss"] == 0


def test_a_base_llm_that_failed_is_asked_again_and_nobody_else(kept: Kept) -> None:
    kept.endpoint.behave("boss", "broken")
    assert kept.command(*kept.ask("one")).code == 1
    kept.endpoint.behave("boss", "ok")
    assert kept.result("resume", "one", "--json")["answer"]
    assert kept.asked() == {"boss": 2, **dict.fromkeys(NAMES, 1)}


def test_a_run_goes_on_with_the_pool_and_the_prompts_that_it_began_with(kept: Kept, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    original = Path(__file__).parents[1] / "prompts" / "merge.txt"
    (prompts / "merge.txt").write_text(original.read_text())
    kept.endpoint.behave("boss", "broken")
    assert kept.command(*kept.ask("one"), "--prompts", str(prompts)).code == 1
    (prompts / "merge.txt").write_text(original.read_text() + "\nBe brief.\n")
    refused = kept.command("resume", "one")
    assert refused.code == 1
    assert f"The prompts in {prompts} have changed" in refused.err
    kept.pool.write_text(kept.pool.read_text().replace("People like ada", "Others"))
    assert "--anyway" in kept.command("resume", "one").err
    kept.endpoint.behave("boss", "ok")
    assert kept.command("resume", "one", "--anyway", "--quiet").out.strip() == "The view of boss."
    kept.pool.unlink()  # what has finished needs nothing any more
    assert kept.command("resume", "one", "--quiet").out.strip() == "The view of boss."


@pytest.mark.parametrize("mode", MODES)
def test_a_clock_that_was_set_back_undoes_nothing(kept: Kept, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SLOW:
        kept.endpoint.behave(name, "broken")
    start_anew(monkeypatch, 0)
    assert kept.command(*kept.ask("one", mode)).code == 1
    for name in SLOW:
        kept.endpoint.behave(name, "logprobs")
    start_anew(monkeypatch, -3600)
    first = kept.result("resume", "one", "--json")
    asked = kept.asked()
    start_anew(monkeypatch, -7200)
    assert kept.result("resume", "one", "--json") == first
    shown = kept.result("runs", "show", "one", "--json")
    assert (shown["state"], shown["missing"], shown["comments"]) == ("finished", first["missing"], first["comments"])
    assert kept.asked() == asked
    assert {name: asked[name] for name in QUICK} == dict.fromkeys(QUICK, 1)


@pytest.mark.parametrize("mode", MODES)
def test_no_comment_is_shown_before_it_is_kept(kept: Kept, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def slowly(saver: SqliteSaver) -> AsyncIterator[None]:
        async with writing(saver):
            await asyncio.sleep(0.02)  # a slow disk
            yield

    def said(_: TerminalView, comment: Comment) -> None:
        with closing(sqlite3.connect(kept.store)) as store:
            query = "SELECT COUNT(*) FROM writes WHERE channel = 'comments' AND instr(value, ?) > 0"
            shown[comment["community"]] = store.execute(query, [comment["text"].encode()]).fetchone()[0]

    shown: dict[str, int] = {}
    writing = SqliteSaver.writing
    monkeypatch.setattr(SqliteSaver, "writing", slowly)
    monkeypatch.setattr(TerminalView, "said", said)
    kept.result(*kept.ask("one", mode))
    assert sorted(shown) == NAMES
    assert all(shown.values())


def test_a_run_goes_on_with_the_model_files_that_it_began_with(kept: Kept) -> None:
    weights = kept.folder / "local.gguf"
    weights.write_bytes(b"GGUF" + os.urandom(3 * 2**20))
    kept.pool.write_text(f'{kept.pool.read_text()}[models.local]\ngguf = "local.gguf"\n')
    kept.endpoint.behave("boss", "broken")
    assert kept.command(*kept.ask("one")).code == 1
    kept.endpoint.behave("boss", "ok")
    original = weights.read_bytes()
    weights.write_bytes(original[:-1])
    refused = kept.command("resume", "one")
    assert refused.code == 1
    assert "The file local.gguf has changed since this run began" in refused.err
    assert "--anyway" in refused.err
    weights.write_bytes(original)  # as it was, at another time
    os.utime(weights, (1, 1))
    assert kept.command("resume", "one", "--quiet").out.strip() == "The view of boss."


def test_model_files_and_adapters_are_told_apart_by_what_is_in_them(tmp_path: Path) -> None:
    community = 'description = "d"\nmodel = "m"\nlora = "a.gguf"\n'
    head = f'base = "m"\n[models.m]\ngguf = "m-00001-of-00002.gguf"\n[communities.c]\n{community}'
    pool = Pool.from_toml(head, source="pool.toml", folder=tmp_path)
    assert model_digests(pool) == {}  # not here yet
    files = {name: b"GGUF" + os.urandom(2**21) for name in ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "a.gguf")}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    first = model_digests(pool)
    assert list(first) == ["m-00001-of-00002.gguf", "a.gguf"]
    for name, content in files.items():
        beyond = content[: 2**20] + bytes(byte ^ 1 for byte in content[2**20 :])  # the same header and size
        (tmp_path / name).write_bytes(beyond)
        changed = model_digests(pool)
        (tmp_path / name).write_bytes(content)
        assert {each for each in first if changed[each] != first[each]} == {name.replace("00002-of", "00001-of")}
    assert model_digests(pool) == first


def test_no_key_is_in_the_store(kept: Kept) -> None:
    kept.endpoint.behave("fay", "unauthorized")  # and says the key
    kept.result(*kept.ask("one"))
    kept.endpoint.behave("boss", "unauthorized")
    assert kept.command(*kept.ask("two", "distributional")).code == 1
    stored = b"".join(each.read_bytes() for each in kept.folder.rglob("runs.sqlite*") if each.is_file())
    assert b"Incorrect API key provided" in stored
    assert KEY.encode() not in stored
    assert KEY not in kept.command("runs").out
    assert stat.S_IMODE(kept.store.stat().st_mode) == 0o600


def test_removing(kept: Kept) -> None:
    assert "No run is kept" in kept.command("runs").out
    kept.result(*kept.ask("one", "distributional"))
    assert kept.command("runs", "remove", "one").code == 0
    with closing(sqlite3.connect(kept.store)) as store:
        for table in ("checkpoints", "writes", "pluralism_runs"):
            assert store.execute(f"SELECT COUNT(*) FROM {table}").fetchone() == (0,)
    kept.result(*kept.ask("school"))
    for command in (["resume", "shcool"], ["runs", "show", "shcool"], ["runs", "remove", "shcool"]):
        assert "did you mean 'school'?" in kept.command(*command).err


def test_calls_that_make_no_sense(kept: Kept) -> None:
    assert "add --thread" in kept.command("ask", "Why?", "--store", "x.sqlite").err
    assert "no store" in kept.command("resume", "one").err


@pytest.mark.parametrize(
    "payload",
    [("pickle", b"cos\nsystem\n(S'touch ran'\ntR."), ("json", b'{"lc":2,"type":"constructor","id":["os","system"]}')],
)
def test_a_forged_checkpoint_is_refused(
    kept: Kept, payload: tuple[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept.endpoint.behave("boss", "broken")
    assert kept.command(*kept.ask("one")).code == 1
    asked = kept.asked()
    with closing(sqlite3.connect(kept.store)) as store:
        store.execute("UPDATE checkpoints SET type = ?, checkpoint = ?", payload)
        store.commit()
    for command in (["resume", "one"], ["runs", "show", "one"]):
        done = kept.command(*command)
        assert done.code == 1
        assert "never" in done.err
    assert not (tmp_path / "ran").exists()
    assert kept.asked() == asked
    assert kept.command("runs").code == 0
    assert kept.command("runs", "remove", "one").code == 0


async def test_a_thousand_runs_are_listed_without_reading_what_was_said(tmp_path: Path) -> None:
    place = find_location(tmp_path / "runs.sqlite")
    async with open_run_store(place, 5) as store:
        with closing(sqlite3.connect(tmp_path / "runs.sqlite")) as raw:
            rows = [(f"r{at}", at, "stopped" if at % 2 else "finished") for at in range(1000)]
            insert = "INSERT INTO pluralism_runs VALUES (?, ?, 'overton', 'Why?', 6, ?, NULL, '{}')"
            raw.executemany(insert, rows)
            # Nothing that can be read as a comment: the list has to do without.
            writes = [(f"r{at}", f"t{task}", b"x" * 20_000) for at in range(1000) for task in range(3)]
            insert = "INSERT INTO writes VALUES (?, '', 'c', ?, '', 0, 'comments', 'json', ?)"
            raw.executemany(insert, writes)
            raw.commit()
        found = await RunTable(store).all()
    assert [found[0].id, found[-1].id, len(found)] == ["r999", "r0", 1000]
    assert (found[0].state, found[0].answered, found[0].communities) == ("stopped", 3, 6)


async def test_one_at_a_time_works_on_a_run(tmp_path: Path) -> None:
    place = find_location(tmp_path / "runs.sqlite")
    async with open_run_store(place, 5) as one, open_run_store(place, 5) as other:
        async with one.claim("run"):
            assert await other.claimed(["run", "another"]) == {"run"}
            with pytest.raises(StoreError, match="at work on the run"):
                async with other.claim("run"):
                    pass
        async with other.claim("run"):
            pass
        assert await one.claimed(["run"]) == set()


class _Counted(TypedDict):
    count: Any


async def test_an_application_keeps_its_own_graph(tmp_path: Path) -> None:
    graph = StateGraph(_Counted)
    graph.add_node("more", lambda state: {"count": state["count"] + 1})
    graph.add_edge(START, "more")
    graph.add_edge("more", END)
    config: Any = {"configurable": {"thread_id": "mine"}}
    async with open_store(tmp_path / "runs.sqlite") as saver:
        await graph.compile(checkpointer=saver).ainvoke({"count": 1}, config, durability="sync")
    async with open_store(tmp_path / "runs.sqlite") as saver:
        compiled: Any = graph.compile(checkpointer=saver)
        assert (await compiled.aget_state(config)).values == {"count": 2}
        with pytest.raises(StoreError, match="plain values only"):
            await compiled.ainvoke({"count": 1j}, config, durability="sync")
