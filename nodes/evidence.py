"""What a community's people have answered to like questions, as the community is told it before it comments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.render import one_line
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import CommentEvidence, EvidenceTold, ToldAnswer

EVIDENCE_PROMPTS = ("evidence", "recorded_answer", "recorded_share")
"""The prompts that tell it; the first one stands before a comment's own prompt."""

_LONGEST_QUESTION, _LONGEST_OPTION = 400, 80
"""Characters that a community is told of a question, and of an option: a file may have pages in one of them, and five
of these would leave no room in a small model's context for the question that is asked."""


def evidence_for(
    community: str, models: PoolModels, state: Mapping[str, Any], told: EvidenceTold
) -> CommentEvidence | None:
    """What a community is told before it comments on the state's question; None where it has no record, or is told
    nothing of it.

    Raises:
        TrainingDataError: its record cannot be read.
        ModelLoadError: what questions are compared by is not there.
        ModelCallError, DeadlineError, ContextOverflowError: the model that they are compared by has failed.
    """
    if told == "none":
        return None
    answers = models.record(community).nearest(state["question"], itself=told == "all")
    return CommentEvidence(told=answers, cited=[], invented=[])


def told_prompts(pool: Pool, prompts: Iterable[str], *, comments: bool = True) -> list[str]:
    """These names of prompts, without those of evidence where nobody in the pool is told any, or `comments`."""
    told = comments and pool.tells_evidence
    return [name for name in prompts if told or name not in EVIDENCE_PROMPTS]


def evidence_text(prompts: PromptSet, answers: Iterable[ToldAnswer]) -> str | None:
    """The answers as a community is told them, numbered from 1, one a line; None where there are none."""
    lines = [
        prompts["recorded_answer"].render_text(
            number=number, question=_cut(answer["question"], _LONGEST_QUESTION), answer=_shares(prompts, answer)
        )
        for number, answer in enumerate(answers, start=1)
    ]
    return prompts["evidence"].render_text(answers="\n".join(lines)) if lines else None


def _shares(prompts: PromptSet, answer: ToldAnswer) -> str:
    return ", ".join(
        prompts["recorded_share"].render_text(option=_cut(option, _LONGEST_OPTION), percent=round(100 * share))
        for option, share in zip(answer["options"], answer["probabilities"], strict=True)
    )


def _cut(text: str, most: int) -> str:
    line = one_line(text)
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"
