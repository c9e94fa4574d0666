"""Fuzz the engine: random mixtures of everything that can be asked of it, from threads and tasks, on the random
model.

    python -m tests.fuzz_engine --minutes 5

After every step the engine compares its books with llama.cpp's (`audit`); here it is checked that no request is lost or
answered twice, that each gets what it may get, and that everything is given back. The seed is printed; it repeats what
is asked, though not when the threads get to ask it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from modular_pluralism.errors import ContextOverflowError, DeadlineError, EngineClosedError, EngineFullError, InputError
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Event, Finish, Piece
from modular_pluralism.llama.job import Adapter
from modular_pluralism.llama.reading import continuations, next_tokens
from tests.free_slots import all_slots_are_free
from tests.random_model import RANDOM_GGUF, make_random_model
from tests.tiny_gguf import write_lora

_WORDS = """the of people who think that a city should not ban cars because some say it is right
and others wrong""".split()  # noqa: SIM905
_CONTEXT = 384
_SHAPES: list[dict[str, Any]] = [
    {"slots": 4, "queue": 12},
    {"slots": 1},
    {"slots": 9, "repeatable": True},
    {"slots": 5, "reuse": False},
    {"slots": 6, "whole_copies": "always"},
]


class Fuzz:
    """Asks engines of several shapes for random things, and counts what came of it."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._lock = threading.Lock()
        self._random = random.Random(seed)
        self._seed = seed
        self._adapters = [Adapter(write_lora(folder / f"{number}.gguf", seed=number)) for number in range(2)]
        self._prefixes = [" ".join(self._random.choices(_WORDS, k=length)) for length in (5, 60, 90, 150)]

    @property
    def done(self) -> int:
        """How many requests have ended, well or not."""
        return sum(self.counts.values()) + len(self.problems)

    def run(self, seconds: float, tell: Callable[[str], None]) -> None:
        """Fuzz one engine after another, each for a part of the time."""
        end = time.monotonic() + seconds
        share = min(max(seconds / len(_SHAPES), 2.0), 30.0)
        number = 0
        while (now := time.monotonic()) < end:
            last = min(now + share, end)
            self._run_one(number, lambda last=last: time.monotonic() >= last)  # type: ignore[misc]
            number += 1
            tell(f"{number} engines: {self.done} requests so far, {len(self.problems)} problems")

    def run_each_shape(self, requests: int) -> None:
        """Fuzz an engine of every shape with about so many requests, until there is a problem."""
        for number in range(len(_SHAPES)):
            enough = self.done + requests

            def over(enough: int = enough) -> bool:
                return self.done >= enough or bool(self.problems)

            self._run_one(number, over)

    def _run_one(self, number: int, over: Callable[[], bool]) -> None:
        others = set(threading.enumerate())  # engines of somebody else in this process
        engine = Engine(
            EngineSettings(
                RANDOM_GGUF,
                context=_CONTEXT,
                audit=True,
                adapters=tuple(adapter.path for adapter in self._adapters),
                **_SHAPES[number % len(_SHAPES)],
            )
        )
        with ThreadPoolExecutor(7) as pool:
            workers = [pool.submit(self._ask_in_thread, engine, number * 100 + at, over) for at in range(6)]
            workers.append(pool.submit(lambda: asyncio.run(self._ask_in_tasks(engine, number, over))))
            if number % 3 == 2:  # every third engine is closed while requests run
                while not over():
                    time.sleep(0.01)
                engine.close()
            for worker in workers:
                worker.result(timeout=600)
        if not engine.closed and not self.problems and not all_slots_are_free(engine):
            self._problem("the engine did not become idle")
        if engine.stats.most_running > engine.stats.slots:
            self._problem("more requests ran than there are slots")
        engine.close()
        if any(thread.name == f"engine {RANDOM_GGUF.name}" for thread in set(threading.enumerate()) - others):
            self._problem("the engine's thread did not end")

    def _ask_in_thread(self, engine: Engine, number: int, over: Callable[[], bool]) -> None:
        chance = random.Random(self._seed * 10_007 + number)
        while not over() and not engine.closed:
            kind = chance.choice(
                ["generate", "generate", "stream", "leave", "cancel", "read", "score", "huge", "empty", "strange"]
            )
            try:
                getattr(self, f"_{kind}")(engine, chance)
                self._count(kind)
            except (DeadlineError, EngineFullError) as error:
                self._count(type(error).__name__)
            except EngineClosedError:
                self._count("closed")
            except Exception as error:
                self._problem(f"{kind}: {error!r}")
                return

    async def _ask_in_tasks(self, engine: Engine, number: int, over: Callable[[], bool]) -> None:
        chance = random.Random(self._seed * 20_011 + number)

        async def one() -> None:
            try:
                if chance.random() < 0.3:
                    events = [event async for event in engine.astream(self._request(engine, chance))]
                    self._check_events(events, "astream")
                elif chance.random() < 0.5:
                    self._check_events(await engine.agenerate(self._request(engine, chance)), "agenerate")
                else:
                    rows = await engine.aread(next_tokens(self._prompts(engine, chance), engine.model.n_vocab))
                    self._check_rows(rows)
                self._count("task")
            except (DeadlineError, EngineFullError, EngineClosedError) as error:
                self._count(type(error).__name__)
            except Exception as error:
                self._problem(f"task: {error!r}")

        while not over() and not engine.closed:
            tasks = [asyncio.create_task(one()) for _ in range(chance.randint(1, 6))]
            await asyncio.sleep(chance.random() * 0.2)
            for task in tasks:
                if chance.random() < 0.4:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- what is asked ----------------------------------------------------------------------------------------------

    def _tokens(self, engine: Engine, chance: random.Random) -> list[int]:
        text = chance.choice(self._prefixes) + " " + " ".join(chance.choices(_WORDS, k=chance.randint(0, 40)))
        return engine.model.tokenize(text, parse_special=False)

    def _request(self, engine: Engine, chance: random.Random) -> GenerationRequest:
        return GenerationRequest(
            tuple(self._tokens(engine, chance)),
            max_tokens=chance.choice([1, 2, 7, 30, 10_000 if chance.random() < 0.1 else 12]),
            sampling=Sampling(temperature=chance.choice([0.0, 0.7, 1.5]), seed=chance.getrandbits(32)),
            stop=chance.choice([(), ("never said by anybody",), (" the", "a")]),
            top_logprobs=chance.choice([None, None, 0, 3]),
            adapter=chance.choice([None, None, *self._adapters]),
            timeout=chance.choice([None, None, None, 0.001, 0.2]),
            ignore_end=chance.random() < 0.3,
        )

    def _prompts(self, engine: Engine, chance: random.Random) -> list[list[int]]:
        first = self._tokens(engine, chance)
        others = [first[: chance.randint(1, len(first))] + self._tokens(engine, chance)[:20] for _ in range(3)]
        return [first, *others][: chance.randint(1, 4)]

    def _generate(self, engine: Engine, chance: random.Random) -> None:
        """With a callback; every event has to come once, and nothing after the last."""
        events: list[Event] = []
        ended = threading.Event()

        def deliver(event: Event) -> None:
            events.append(event)
            if not isinstance(event, Piece):
                ended.set()

        engine.submit_generation(self._request(engine, chance), deliver)
        if not ended.wait(300):
            self._problem("a request was lost")
            return
        last = events[-1]
        if isinstance(last, Exception):
            raise last
        self._check_events([event for event in events if not isinstance(event, Exception)], "generate")

    def _stream(self, engine: Engine, chance: random.Random) -> None:
        self._check_events(list(engine.stream(self._request(engine, chance))), "stream")
        self._check_events(engine.generate(self._request(engine, chance)), "generate")

    def _leave(self, engine: Engine, chance: random.Random) -> None:
        for number, _ in enumerate(engine.stream(self._request(engine, chance))):
            if number >= chance.randint(0, 3):
                break

    def _cancel(self, engine: Engine, chance: random.Random) -> None:
        answers: list[Event] = []
        control = engine.submit_generation(
            self._request(engine, chance), lambda event: None if isinstance(event, Piece) else answers.append(event)
        )
        time.sleep(chance.random() * 0.1)
        control.cancel()
        if len(answers) > 1:
            self._problem("a cancelled request was answered twice")

    def _read(self, engine: Engine, chance: random.Random) -> None:
        adapter = chance.choice([None, *self._adapters])
        self._check_rows(engine.next_token_logprobs(self._prompts(engine, chance), adapter=adapter))

    def _score(self, engine: Engine, chance: random.Random) -> None:
        following = [self._tokens(engine, chance)[: chance.randint(1, 9)] for _ in range(chance.randint(1, 4))]
        rows = engine.read(continuations(self._tokens(engine, chance), following), timeout=chance.choice([None, 0.3]))
        if [len(row) for row in rows] != [len(each) for each in following]:
            self._problem("a score has another length than its continuation")
        if not all(np.isfinite(row).all() and (row <= 1e-4).all() for row in rows):
            self._problem("a score is not a log-probability")

    def _huge(self, engine: Engine, chance: random.Random) -> None:
        tokens = (self._tokens(engine, chance) * 2 * _CONTEXT)[: 2 * _CONTEXT]
        if chance.random() < 0.5:  # it just fits
            tokens = tokens[: _CONTEXT - 1]
            events = list(engine.stream(GenerationRequest(tuple(tokens), max_tokens=9, ignore_end=True)))
            if not isinstance(events[-1], Finish) or events[-1].completion_tokens != 1:
                self._problem("a prompt that just fits did not give one token")
            return
        try:
            engine.next_token_logprobs([tokens])
        except ContextOverflowError:
            return
        self._problem("a prompt that is too long was read")

    def _empty(self, engine: Engine, chance: random.Random) -> None:
        for ask in (lambda: GenerationRequest(()), lambda: engine.next_token_logprobs([[]])):
            try:
                ask()
            except InputError:
                continue
            self._problem("an empty prompt was accepted")

    def _strange(self, engine: Engine, chance: random.Random) -> None:
        """A callback that raises harms nobody, and a token that does not exist is refused."""

        def deliver(event: Event) -> None:
            raise ValueError("a caller's bug")

        engine.submit_generation(self._request(engine, chance), deliver)
        try:
            engine.next_token_logprobs([[1, 10**7]])
        except InputError:
            return
        self._problem("a token outside the vocabulary was read")

    # -- what has to hold -------------------------------------------------------------------------------------------

    def _check_events(self, events: list[Piece | Finish], kind: str) -> None:
        finishes = [event for event in events if isinstance(event, Finish)]
        if len(finishes) != 1 or events[-1] is not finishes[0]:
            self._problem(f"{kind}: {len(finishes)} ends")
            return
        shown = sum(len(event.tokens) for event in events if isinstance(event, Piece))
        if finishes[0].completion_tokens - shown not in (0, 1):  # an end token is counted and not shown
            self._problem(f"{kind}: {shown} tokens shown and {finishes[0].completion_tokens} counted")

    def _check_rows(self, rows: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> None:
        if not np.allclose(np.exp(rows.astype(np.float64)).sum(axis=1), 1, atol=1e-3):
            self._problem("probabilities do not sum to 1")

    def _count(self, kind: str) -> None:
        with self._lock:
            self.counts[kind] += 1

    def _problem(self, text: str) -> None:
        with self._lock:
            self.problems.append(text)


def _minutes(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes above 0")


def main() -> None:
    """Fuzz for as long as asked; exit code 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz_engine",
        description=__doc__,
        epilog="example: python -m tests.fuzz_engine --minutes 2 --seed 7",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=_minutes, default=5.0, help="how long (default 5)")
    parser.add_argument("--seed", type=int, default=None, help="what is asked (default: a new seed, printed)")
    arguments = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if arguments.seed is None else arguments.seed
    print(f"seed {seed}")
    make_random_model()
    with tempfile.TemporaryDirectory() as folder:
        fuzz = Fuzz(seed, Path(folder))
        try:
            fuzz.run(60 * arguments.minutes, tell=lambda line: print(line, flush=True))
        except KeyboardInterrupt:
            print("Stopped.")
    for kind, count in sorted(fuzz.counts.items()):
        print(f"  {kind:22} {count}")
    for problem in fuzz.problems:
        print(f"PROBLEM: {problem}")
    print(f"{sum(fuzz.counts.values())} requests, {len(fuzz.problems)} problems")
    sys.exit(1 if fuzz.problems else 0)


if __name__ == "__main__":
    main()
