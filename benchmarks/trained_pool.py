"""One distributional question to a pool of trained communities that vote, against the same pool as personas."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.errors import BenchmarkError
from benchmarks.pairing import take_turns
from benchmarks.result import Result, compare
from benchmarks.row import Row, Settings
from modular_pluralism import Pool, build_distributional
from modular_pluralism.pool import Community, EmbeddedModel, RunSettings
from modular_pluralism.training.gguf_adapter import read_base, write_gguf_adapter

_RANK = 16
_COMMENT_TOKENS = 64
_OPTIONS = ("A great deal", "Something", "Very little", "Nothing at all")
_PEOPLE = ("Kenya", "Japan", "France", "Canada", "Peru")


def measure(settings: Settings) -> Iterator[Result]:
    """Seconds a question."""
    personas = Pool.load("culture")
    with tempfile.TemporaryDirectory() as folder:
        adapters = {
            name: _adapter(settings.file.path, Path(folder) / f"{name}.gguf", seed)
            for seed, name in enumerate(personas.communities)
        }
        trained, prompted = _pool(settings, personas, adapters), _pool(settings, personas, {})
        sides = {
            "trained, vote": build_distributional(trained, voice="vote").compile(),
            "personas, vote": build_distributional(prompted, voice="vote").compile(),
            "personas, comment": build_distributional(prompted, voice="comment").compile(),
        }
        measured = take_turns(
            {name: partial(_seconds, graph) for name, graph in sides.items()}, settings.rounds, settings.say
        )
    ours, *others = measured.items()
    for against, seconds in others:
        yield compare(
            ROW.name,
            f"a question to five trained communities that vote, {settings.file}",
            against.replace("personas, ", "the same pool as personas, "),
            ours[1],
            seconds,
            "s",
            "peer / ours",
            reach=1.0,
        )


def _adapter(base: Path, path: Path, seed: int) -> Path:
    """A random adapter as training makes them: rank 16, on all linear layers but the last."""
    shape = read_base(base)
    draw = np.random.default_rng(seed)
    tensors = {}
    for name, (rows, columns) in shape.tensors.items():
        if name.startswith("blk."):
            tensors[f"{name}.lora_a"] = draw.normal(0, 0.01, (_RANK, columns)).astype(np.float32)
            tensors[f"{name}.lora_b"] = draw.normal(0, 0.01, (rows, _RANK)).astype(np.float32)
    write_gguf_adapter(path, tensors, shape, name=path.stem)
    return path


def _pool(settings: Settings, personas: Pool, adapters: Mapping[str, Path]) -> Pool:
    communities = {
        name: Community(
            model="small",
            description=community.description,
            lora=str(adapters[name]) if adapters else None,
            persona=None if adapters else community.persona,
        )
        for name, community in personas.communities.items()
    }
    model = EmbeddedModel(gguf=str(settings.file.path), threads=settings.threads, context=2048, prepared=False)
    return Pool(
        base="small",
        models={"small": model},
        communities=communities,
        run=RunSettings(comment_tokens=settings.few(_COMMENT_TOKENS, 4)),
    )


def _seconds(graph: Any, number: int) -> float:
    asked = {
        "question": f"{number}. How much should the state do to lower differences between incomes?",
        "options": list(_OPTIONS),
        "attribute": _PEOPLE[number % len(_PEOPLE)],
        "seed": number,
    }
    began = time.perf_counter()
    state = asyncio.run(graph.ainvoke(asked))
    seconds = time.perf_counter() - began
    if state["missing"] or len(state["distributions"]) < len(_PEOPLE):
        raise BenchmarkError("a community did not answer")
    return seconds


ROW = Row(
    "trained-pool",
    "one distributional question to five trained communities, against the same pool as personas",
    f"four options in all rotations, a new question each round; random adapters of rank {_RANK} "
    f"on all linear layers, as training makes them; comments of {_COMMENT_TOKENS} tokens; all sides in one "
    "process, taking turns",
    measure,
    peers.GGUF,
)
