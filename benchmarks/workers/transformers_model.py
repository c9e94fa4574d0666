"""A Hugging Face model, as the paper's own code runs it: `generate` and forward passes, one sequence at a time."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

from benchmarks.workers.protocol import serve

# Not imported by name: type checkers of the environment that benchmarks are developed in need not have them.
_torch: Any = importlib.import_module("torch")
_transformers: Any = importlib.import_module("transformers")
_models: list[Any] = []


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """ "open" loads the model; "generate" replies with seconds and a length; "read" with seconds and probabilities."""
    match request["do"]:
        case "open":
            return _open(request)
        case "generate":
            return _generate(_models[0], request)
        case _:
            return _read(_models[0], request)


def _open(request: dict[str, Any]) -> dict[str, Any]:
    _torch.set_num_threads(request["threads"])
    path = Path(request["file"])
    model = _transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=_torch.float32
    ).eval()
    model.generation_config.eos_token_id = None  # every text is to have the same length
    _models.append(model)
    return {}


def _generate(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    sampling = request["sampling"]
    _torch.manual_seed(request["seed"])
    tokens = _torch.tensor([request["tokens"]])
    started = time.perf_counter()
    with _torch.inference_mode():
        text = model.generate(
            input_ids=tokens,
            attention_mask=_torch.ones_like(tokens),
            max_new_tokens=request["max_tokens"],
            do_sample=True,
            temperature=sampling["temperature"],
            top_k=sampling["top_k"],
            top_p=sampling["top_p"],
            min_p=sampling["min_p"],
            pad_token_id=0,
        )
    return {"seconds": time.perf_counter() - started, "count": text.shape[1] - tokens.shape[1]}


def _read(model: Any, request: dict[str, Any]) -> dict[str, Any]:
    wanted = request["wanted"]
    found = []
    started = time.perf_counter()
    with _torch.inference_mode():
        for tokens in request["prompts"]:
            logits = model(input_ids=_torch.tensor([tokens]), use_cache=False, logits_to_keep=1).logits[0, -1]
            found.append(logits.softmax(-1)[wanted].tolist())
    return {"seconds": time.perf_counter() - started, "probabilities": found}


if __name__ == "__main__":
    serve(answer)
