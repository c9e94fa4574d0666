"""`llama_cpp.Llama`, which generates one text after the other."""

from __future__ import annotations

import itertools
import time
from typing import Any

from llama_cpp import Llama

from benchmarks.workers.protocol import serve

_models: dict[bool, Llama] = {}
"""With flash attention, and without."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """ "open" loads the model twice; "generate" replies with the seconds and the lengths of the texts."""
    if request["do"] == "open":
        for flash_attention in (False, True):
            _models[flash_attention] = Llama(
                request["file"],
                n_ctx=request["context"],
                n_threads=request["threads"],
                n_threads_batch=request["threads"],
                flash_attn=flash_attention,
                verbose=False,
            )
        return {}
    return _generate(_models[request["flash_attention"]], request)


def _generate(llama: Llama, request: dict[str, Any]) -> dict[str, Any]:
    sampling = request["sampling"]
    counts = []
    started = time.perf_counter()
    for tokens, seed in zip(request["prompts"], request["seeds"], strict=True):
        llama.reset()
        llama.set_seed(seed)
        stream = llama.generate(
            tokens,
            top_k=sampling["top_k"],
            top_p=sampling["top_p"],
            min_p=sampling["min_p"],
            temp=sampling["temperature"],
        )
        counts.append(sum(1 for _ in itertools.islice(stream, request["tokens"])))
    return {"seconds": time.perf_counter() - started, "counts": counts}


if __name__ == "__main__":
    serve(answer)
