"""36 sequences over six LoRA adapters, against 36 on one: what it costs in memory and in speed."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import peers
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from benchmarks.worker import worker

_SEQUENCES = 36
_ADAPTERS = 6
_TOKENS = 64


def measure(settings: Settings) -> Iterator[Result]:
    """Peak memory, and tokens a second."""
    from tests.tiny_gguf import DEMO, write_lora  # wants gguf, which only development needs

    rates: dict[int, list[float]] = {_ADAPTERS: [], 1: []}
    with tempfile.TemporaryDirectory() as folder:
        adapters = [
            write_lora(Path(folder) / f"{seed}.gguf", seed=seed, shape=DEMO) for seed in range(1, _ADAPTERS + 1)
        ]

        def peak(number: int, count: int) -> float:
            with worker(sys.executable, "lora_sequences") as process:
                reply = process.ask(
                    file=str(settings.file.path),
                    adapters=[str(path) for path in adapters[:count]],
                    sequences=_SEQUENCES,
                    tokens=settings.few(_TOKENS, 4),
                    threads=settings.threads,
                )
            if number:
                rates[count].append(float(reply["rate"]))
            return float(reply["peak_mib"])

        measured = take_turns(
            {
                "six adapters": lambda number: peak(number, _ADAPTERS),
                "one adapter": lambda number: peak(number, 1),
            },
            settings.rounds,
            settings.say,
            unit="MiB",
        )
    name, against = f"{_SEQUENCES} sequences over six LoRA adapters", f"{_SEQUENCES} on one adapter"
    yield compare(
        ROW.name,
        f"{name}, peak memory, {settings.file}",
        against,
        measured["six adapters"],
        measured["one adapter"],
        "MiB",
        "ours / peer",
        reach=1.3,
        at_most=True,
    )
    yield compare(
        ROW.name,
        f"{name}, speed, {settings.file}",
        against,
        rates[_ADAPTERS],
        rates[1],
        "tokens/s",
        "ours / peer",
        reach=None,
    )


ROW = Row(
    "lora-memory",
    "36 sequences over six LoRA adapters, against 36 on one",
    f"random adapters of rank 4 on the attention of every second layer; {_TOKENS} tokens a sequence, all 36 running at "
    "once; each measurement in a process of its own, memory as the peak of its resident set; the speed includes the "
    "reading of prompts",
    measure,
    peers.GGUF,
)
