"""Answering the test questions of a part: with the pool and parts of it, the control, and the untrained base LLM."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

from benchmarks.study.parts import ALL, Part
from benchmarks.study.training import write_pool
from modular_pluralism.cli.progress import EvalProgress
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.evaluation import Evaluation, EvaluationSettings, Files
from modular_pluralism.types import MethodName, Voice

VOTE: Literal["modular"] = "modular"
"""The pool of trained communities, which vote."""
ONE = "one adapter for all"
"""The control's vote."""
COMMENT = "comment"
"""The same pool in the paper's way: the base LLM reads the options given each comment."""

_COMMENT_TOKENS = 64
Answers = dict[str, list[Outcome]]


def measure_part(part: Part, out: Path, *, limit: int | None, comment_limit: int | None, seed: int) -> Answers:
    """Outcomes by the name of the method: of the first `limit` items, and of the first `comment_limit` of these for
    those who comment (None: all). What is under `out` already is not computed again."""
    pool = pool_of(part, out)
    found = ask(
        "vote", pool, part.test, methods=[VOTE, "prompting", "vanilla"], limit=limit, seed=seed, patched=part.describe
    )
    found |= measure_control(part, out, limit=limit, seed=seed)
    methods: list[MethodName] = ["modular", "moe"]
    commented = ask("comment", pool, part.test, methods=methods, voice="comment", limit=comment_limit, seed=seed)
    return found | {COMMENT: commented["modular"], "moe": commented["moe"]}


def measure_control(part: Part, out: Path, *, limit: int | None, seed: int) -> Answers:
    """Outcomes of the control alone, of the first `limit` items."""
    return {ONE: ask("one_adapter", control_of(part, out), part.test, limit=limit, seed=seed)[VOTE]}


def pool_of(part: Part, out: Path) -> Path:
    """The file of the part's pool."""
    return write_pool(out / part.name / f"{part.name}.toml", part.describe)


def control_of(part: Part, out: Path) -> Path:
    """The file of a pool that is the control alone."""
    return write_pool(out / part.family / f"{ALL}.toml", {ALL: "Everybody"})


def ask(
    name: str,
    pool: Path,
    test: Path,
    *,
    methods: Sequence[MethodName] = (VOTE,),
    voice: Voice = "vote",
    limit: int | None,
    seed: int,
    patched: Collection[str] = (),
) -> Answers:
    """Outcomes of the first `limit` items of a task file by method, and with each of the `patched` communities left out
    and alone, in the folder `name` beside the pool's file. What is there already is not computed again."""
    evaluation = Evaluation(
        TaskFile.open(test, kind="distributional"),
        EvaluationSettings(
            methods=methods,
            pool=str(pool),
            voice=voice,
            limit=limit,
            seed=seed,
            comment_tokens=_COMMENT_TOKENS,
            without=list(patched),
            only=list(patched),
        ),
        Files(pool.parent / name),
    )
    print(f"{pool.stem}, {name}: {evaluation.total} results", file=sys.stderr, flush=True)
    with EvalProgress(evaluation.total, sys.stderr) as progress:
        asyncio.run(evaluation.run(progress.made, progress.known))
    return {method: evaluation.outcomes(method) for method in evaluation.methods}
