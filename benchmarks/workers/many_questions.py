"""Any number of questions through the Overton graph in one process, on the real engine."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from benchmarks.memory import peak_mib
from benchmarks.workers.protocol import serve
from modular_pluralism import ChatLlama, Pool, build_overton
from modular_pluralism.pool import Community, EmbeddedModel, RunSettings

_graphs: list[Any] = []


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """ "open" builds the graph; "ask" replies with the seconds and the peak of the memory so far."""
    if request["do"] == "open":
        return _open(Path(request["file"]), request["threads"], request["tokens"])
    questions = [
        {"question": f"{request['first'] + number}. Should city number {number} ban cars?", "seed": number}
        for number in range(request["count"])
    ]
    started = time.perf_counter()
    results = asyncio.run(_graphs[0].abatch(questions, {"max_concurrency": request["at_once"]}))
    seconds = time.perf_counter() - started
    unanswered = sum(1 for result in results if result["missing"] or not result["answer"])
    if unanswered:
        raise RuntimeError(f"{unanswered} questions were not answered")
    return {"seconds": seconds, "peak_mib": peak_mib()}


def _open(file: Path, threads: int, tokens: int) -> dict[str, Any]:
    pool = Pool(
        base="small",
        models={"small": EmbeddedModel(gguf=str(file), threads=threads)},
        communities={"people": Community(model="small", description="People")},
        run=RunSettings(comment_tokens=tokens, answer_tokens=tokens),
    )
    _graphs.append(build_overton(pool, models={"small": ChatLlama(gguf=file, threads=threads)}).compile())
    return {}


if __name__ == "__main__":
    serve(answer)
