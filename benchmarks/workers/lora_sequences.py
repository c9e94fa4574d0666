"""Sequences over LoRA adapters, in a process of its own, so that the peak of the memory is theirs alone."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_mib
from benchmarks.workers.protocol import serve
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Event, Finish, Piece
from modular_pluralism.llama.job import Adapter


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Peak memory and tokens a second of `sequences` texts of `tokens` tokens, which take the adapters in turn."""
    adapters = [Adapter(Path(path)) for path in request["adapters"]]
    sequences: int = request["sequences"]
    engine = Engine(
        EngineSettings(
            gguf=Path(request["file"]),
            context=512,
            slots=sequences,
            threads=request["threads"],
            adapters=tuple(adapter.path for adapter in adapters),
        )
    )
    try:
        seconds, counts = _generate(engine, adapters, sequences, request["tokens"])
        most = engine.stats.most_running
    finally:
        engine.close()
    if counts != [request["tokens"]] * sequences or most != sequences:
        raise RuntimeError(f"{most} of {sequences} sequences ran at once, with {counts} tokens")
    return {"rate": sum(counts) / seconds, "peak_mib": peak_mib()}


def _generate(engine: Engine, adapters: list[Adapter], sequences: int, tokens: int) -> tuple[float, list[int]]:
    counts = [0] * sequences
    errors: list[Exception] = []
    ended = threading.Semaphore(0)

    def deliver(index: int, event: Event) -> None:
        if isinstance(event, Piece):
            return
        if isinstance(event, Finish):
            counts[index] = event.completion_tokens
        else:
            errors.append(event)
        ended.release()

    started = time.perf_counter()
    for index in range(sequences):
        prompt = engine.model.tokenize(f"{index}. The most important thing in life is", parse_special=False)
        request = GenerationRequest(
            tuple(prompt),
            max_tokens=tokens,
            sampling=Sampling(seed=index),
            adapter=adapters[index % len(adapters)],
            ignore_end=True,
        )
        engine.submit_generation(request, partial(deliver, index))
    for _ in range(sequences):
        ended.acquire()
    if errors:
        raise errors[0]
    return time.perf_counter() - started, counts


if __name__ == "__main__":
    serve(answer)
