"""One distributional question to a pool of trained communities that vote, with activated adapters and with plain ones,
against the same pool as personas."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
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
from modular_pluralism.training.vote_prompts import VoteEncoder

_RANK = 16
_COMMENT_TOKENS = 64
_OPTIONS = ("A great deal", "Something", "Very little", "Nothing at all")
_ACTIVATED, _PLAIN = "activated adapters", "plain adapters"
_VOTING, _COMMENTING = "the same pool as personas, vote", "the same pool as personas, comment"
_PEOPLE = ("Kenya", "Japan", "France", "Canada", "Peru")


def measure(settings: Settings) -> Iterator[Result]:
    """Seconds a question."""
    personas = Pool.load("culture")
    with tempfile.TemporaryDirectory() as folder:
        with closing(VoteEncoder(settings.file.path)) as encoder:
            kinds = {_ACTIVATED: encoder.invocation(), _PLAIN: []}
        adapters = {
            kind: {
                name: _adapter(settings.file.path, Path(folder) / f"{kind} {name}.gguf", seed, invocation)
                for seed, name in enumerate(personas.communities)
            }
            for kind, invocation in kinds.items()
        }
        pools = {kind: _pool(settings, personas, files) for kind, files in adapters.items()}
        prompted = _pool(settings, personas, {})
        sides = {kind: build_distributional(pool, voice="vote").compile() for kind, pool in pools.items()}
        sides[_VOTING] = build_distributional(prompted, voice="vote").compile()
        sides[_COMMENTING] = build_distributional(prompted, voice="comment").compile()
        measured = take_turns(
            {name: partial(_seconds, graph) for name, graph in sides.items()}, settings.rounds, settings.say
        )
    for ours, peer, reach in (
        (_ACTIVATED, _PLAIN, 2.5),
        (_ACTIVATED, _VOTING, 2.0),
        (_ACTIVATED, _COMMENTING, 1.0),
        (_PLAIN, _VOTING, 1.0),
        (_PLAIN, _COMMENTING, 1.0),
    ):
        yield compare(
            ROW.name,
            f"a question to five trained communities that vote, {ours}, {settings.file}",
            peer,
            measured[ours],
            measured[peer],
            "s",
            "peer / ours",
            reach=reach,
        )


def _adapter(base: Path, path: Path, seed: int, invocation: Sequence[int]) -> Path:
    """A random adapter as training makes them: rank 16, on all linear layers but the last."""
    shape = read_base(base)
    draw = np.random.default_rng(seed)
    tensors = {}
    for name, (rows, columns) in shape.tensors.items():
        if name.startswith("blk."):
            tensors[f"{name}.lora_a"] = draw.normal(0, 0.01, (_RANK, columns)).astype(np.float32)
            tensors[f"{name}.lora_b"] = draw.normal(0, 0.01, (rows, _RANK)).astype(np.float32)
    write_gguf_adapter(path, tensors, shape, name=path.stem, invocation=invocation)
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
