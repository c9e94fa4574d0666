"""Answering the test questions of a part: with the pool and parts of it, the control, and the untrained base LLM."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
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
    names = list(part.describe)
    pool = write_pool(out / part.name / f"{part.name}.toml", part.describe)
    control = write_pool(out / part.family / f"{ALL}.toml", {ALL: "Everybody"})

    def ask(
        name: str,
        pool: Path,
        methods: Sequence[MethodName],
        voice: Voice,
        limit: int | None,
        patched: Sequence[str] = (),
    ) -> Answers:
        evaluation = Evaluation(
            TaskFile.open(part.test, kind="distributional"),
            EvaluationSettings(
                methods=methods,
                pool=str(pool),
                voice=voice,
                limit=limit,
                seed=seed,
                comment_tokens=_COMMENT_TOKENS,
                without=patched,
                only=patched,
            ),
            Files(pool.parent / name),
        )
        print(f"{part.name}, {name}: {evaluation.total} results", file=sys.stderr, flush=True)
        with EvalProgress(evaluation.total, sys.stderr) as progress:
            asyncio.run(evaluation.run(progress.made, progress.known))
        return {method: evaluation.outcomes(method) for method in evaluation.methods}

    found = ask("vote", pool, [VOTE, "prompting", "vanilla"], "vote", limit, names)
    found[ONE] = ask("one_adapter", control, [VOTE], "vote", limit)[VOTE]
    commented = ask("comment", pool, ["modular", "moe"], "comment", comment_limit)
    return found | {COMMENT: commented["modular"], "moe": commented["moe"]}
