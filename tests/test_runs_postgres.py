"""The same in Postgres: a real server of its own, on a socket and a port that nobody else has."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from modular_pluralism.runs import StoreError
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.opening import open_run_store
from tests.fake_endpoint import FakeEndpoint, free_port
from tests.kept_runs import KEY, NAMES, QUICK, SLOW, Kept, start_anew

pytestmark = pytest.mark.faults
PASSWORD = "geheim-p4ss"


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a running database."""
    tools = {name: _tool(name) for name in ("initdb", "pg_ctl")}
    if None in tools.values():
        pytest.skip("there is no Postgres server (initdb, pg_ctl) on this machine")
    as_user: list[str] = []
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        if os.geteuid() == 0:  # which Postgres refuses
            if shutil.which("setpriv") is None:
                pytest.skip("Postgres does not run as root, and there is no setpriv to become somebody else")
            as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            os.chown(folder, 65534, 65534)
        secret, data = Path(folder, "password"), str(Path(folder, "data"))
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        port = free_port()

        def run(*command: str | None) -> None:
            subprocess.run(
                [*as_user, *map(str, command)],
                check=True,
                capture_output=True,
                timeout=120,
                cwd=folder,
                stdin=subprocess.DEVNULL,
            )

        run(tools["initdb"], "-D", data, "-U", "me", "-A", "scram-sha-256", "--pwfile", str(secret), "--no-sync")
        options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        log = str(Path(folder, "log"))
        run(tools["pg_ctl"], "-D", data, "-w", "-t", "100", "-l", log, "-o", options, "start")
        try:
            yield f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/postgres"
        finally:
            run(tools["pg_ctl"], "-D", data, "-m", "immediate", "stop")


def _tool(name: str) -> str | None:
    places = [str(each) for each in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    with FakeEndpoint().running() as endpoint:
        kept = Kept(tmp_path, endpoint)
        kept.write_pool()
        yield kept


@pytest.mark.parametrize("mode", ["overton", "distributional"])
def test_a_run_fails_is_shown_resumed_and_removed(kept: Kept, database: str, mode: str) -> None:
    store = ["--store", database]
    for name in SLOW:
        kept.endpoint.behave(name, "unauthorized")  # and says the key
    failed = kept.command(*kept.ask("one", mode), *store)
    assert failed.code == 1
    assert "the quorum is 4" in failed.err
    shown = kept.result("runs", "show", "one", "--json", *store)
    assert (shown["state"], shown["answered"], shown["missing"]) == ("failed", 6, SLOW)
    for name in SLOW:
        kept.endpoint.behave(name, "logprobs")
    result = kept.result("resume", "one", "--json", *store)
    assert (list(result["comments"]), result["missing"]) == (NAMES, [])
    assert {name: kept.asked()[name] for name in NAMES} == {**dict.fromkeys(QUICK, 1), **dict.fromkeys(SLOW, 2)}
    assert kept.result("resume", "one", "--json", *store) == result
    assert kept.result("runs", "--json", *store)["runs"][0]["state"] == "finished"
    stored = _everything(database)
    assert "Is it so?" in stored
    assert KEY not in stored
    assert PASSWORD not in stored
    assert kept.command("runs", "remove", "one", *store).code == 0
    assert "Is it so?" not in _everything(database)


def test_a_clock_that_was_set_back_undoes_nothing(kept: Kept, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ["--store", database]
    kept.endpoint.behave("boss", "broken")
    assert kept.command(*kept.ask("back"), *store).code == 1
    kept.endpoint.behave("boss", "logprobs")
    start_anew(monkeypatch, -3600)
    first = kept.result("resume", "back", "--json", *store)
    asked = kept.asked()
    start_anew(monkeypatch, -7200)
    assert kept.result("resume", "back", "--json", *store) == first
    assert kept.asked() == asked


async def test_one_process_at_a_time(database: str) -> None:
    place = find_location(database)
    async with open_run_store(place, 5) as one, open_run_store(place, 5) as other, one.claim("run"):
        assert await other.claimed(["run", "another"]) == {"run"}
        with pytest.raises(StoreError, match="at work on the run"):
            async with other.claim("run"):
                pass
    async with open_run_store(place, 5) as store, store.claim("run"):  # the session has ended, and the claim with it
        pass


def test_a_wrong_password_is_told_without_it(kept: Kept, database: str) -> None:
    done = kept.command("runs", "--store", database.replace(PASSWORD, "another-word"))
    assert done.code == 1
    assert "password authentication failed" in done.err
    assert "another-word" not in done.err


def _everything(database: str) -> str:
    """All rows of all tables, as text."""
    with psycopg.connect(database) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [connection.execute(f'SELECT * FROM "{table}"'.encode()).fetchall() for (table,) in tables]
    return str(rows)
