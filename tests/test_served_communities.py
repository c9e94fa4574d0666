"""Communities served by other processes: real servers on this machine, one of which is killed."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from modular_pluralism.errors import QuorumError
from modular_pluralism.graphs import build_distributional, build_overton
from modular_pluralism.graphs.state import OvertonQuestion
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Pool
from tests.command import PLURALISM
from tests.fake_endpoint import free_port
from tests.random_model import RANDOM_GGUF

pytest.importorskip("fastapi", reason="`pluralism serve` needs the extra serve")
pytestmark = pytest.mark.faults

START_SECONDS = 180.0
SERVED = f"""
base = "demo"
[models.demo]
gguf = "{RANDOM_GGUF}"
context = 512
slots = 4
threads = 1
prepared = false
[communities.north]
model = "demo"
persona = "europe.md"
description = "The north"
[communities.south]
model = "demo"
persona = "africa.md"
description = "The south"
"""


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text(errors="replace")
        try:
            with urllib.request.urlopen(f"{address}/models", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"{address} did not start: {log.read_text(errors='replace')}")


class Servers:
    """Two processes of `pluralism serve`, over the same pool."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        (folder / "served.toml").write_text(SERVED)
        ports = [free_port(), free_port()]
        self.addresses = [f"http://127.0.0.1:{port}/v1" for port in ports]
        self.processes = []
        for number, port in enumerate(ports):
            command = [PLURALISM, "serve", "--pool", str(folder / "served.toml"), "--port", str(port)]
            self.processes.append(stack.enter_context(_running(command, folder / f"{number}.log")))
        for number, process in enumerate(self.processes):
            _wait_for(self.addresses[number], process, folder / f"{number}.log")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack, tmp_path)


def _pool(first: str, second: str, *, quorum: int) -> Pool:
    """South is at the first server; north, west and the base LLM are at the second."""
    where = {"boss": ("base", second), "north": ("community/north", second)}
    where |= {"south": ("community/south", first), "west": ("community/south", second)}
    models = "".join(f'[models.{name}]\nopenai = "{id_}"\nbase_url = "{at}"\n' for name, (id_, at) in where.items())
    communities = "".join(
        f'[communities.{name}]\nmodel = "{name}"\ndescription = "The {name}"\n' for name in ("north", "south", "west")
    )
    run = f"[run]\nquorum = {quorum}\ncomment_tokens = 12\nanswer_tokens = 12\ndeadline = 300\n"
    return Pool.from_toml(f'base = "boss"\n{models}{communities}{run}', source="two.toml", folder=Path())


@pytest.mark.faults
def test_a_run_over_two_servers_goes_on_when_one_is_killed(servers: Servers) -> None:
    first, second = servers.addresses
    pool = _pool(first, second, quorum=2)
    models = PoolModels(pool)
    overton = build_overton(pool, models=models).compile()
    asked: OvertonQuestion = {"question": "Why do people move to large towns?", "seed": 1}
    whole = overton.invoke(asked)
    assert whole["missing"] == []
    assert whole["answer"]
    assert all(said["completion_tokens"] for said in whole["comments"].values())

    servers.processes[0].send_signal(signal.SIGKILL)
    servers.processes[0].wait(60)
    rest = asyncio.run(overton.ainvoke(asked))
    assert rest["missing"] == ["south"]
    assert rest["comments"]["north"]["text"]
    assert rest["answer"]
    assert f"(community/south at {first}) failed after 3 attempts:" in rest["comments"]["south"]["error"]

    scored = build_distributional(pool, models=models, scoring="label").compile()
    state = scored.invoke({"question": asked["question"], "seed": 1, "options": ["Work", "Company"]})
    assert state["missing"] == ["south"]
    assert sum(state["distribution"]) == pytest.approx(1)

    strict = _pool(first, second, quorum=3)
    with pytest.raises(QuorumError, match=r"2 of 3 communities answered, and the quorum is 3\. south: model 'south'"):
        build_overton(strict, models=PoolModels(strict)).compile().invoke(asked)


@pytest.fixture
def llama_server(tmp_path: Path) -> Iterator[str]:
    program = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
    if program is None:
        pytest.skip("llama-server is not installed (or set LLAMA_SERVER to its path)")
    port = free_port()
    command = [program, "-m", str(RANDOM_GGUF), "--host", "127.0.0.1", "--port", str(port), "-c", "2048", "-np", "2"]
    with _running(command, tmp_path / "llama.log") as process:
        _wait_for(f"http://127.0.0.1:{port}/v1", process, tmp_path / "llama.log")
        yield f"http://127.0.0.1:{port}/v1"


def test_a_run_over_llama_server(llama_server: str) -> None:
    pool = _pool(llama_server, llama_server.replace("127.0.0.1", "localhost"), quorum=3)
    graph = build_distributional(pool, scoring="label").compile()
    state = graph.invoke({"question": "Why do people move to large towns?", "options": ["Work", "Company"], "seed": 1})
    assert state["missing"] == []
    assert sum(state["distribution"]) == pytest.approx(1)
