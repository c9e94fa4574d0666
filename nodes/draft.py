"""Assembly: the base LLM writes the answers that are chosen among; one that cannot be written leaves an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import BaseMessage

from modular_pluralism.errors import ContextOverflowError, DeadlineError, InputError, ModelCallError
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.models.redaction import redact
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.render import comment_lines, fill
from modular_pluralism.nodes.step import Body, State, Steps, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Candidate

ALONE = "base"
MERGED = "merge"
"""What the drafts are called that are nobody's; a draft in the light of one comment is called as its community."""


@step_maker(prompts=["vanilla"])
def draft_alone(models: PoolModels, prompts: PromptSet, *, max_tokens: int) -> Body:
    """Step that writes `candidates["base"]`: what the base LLM answers by itself, as in the vanilla baseline."""

    def step(state: State) -> Steps:
        seed = derive_seed(state.get("seed") or 0, "vanilla")
        messages = fill(prompts["vanilla"], state)
        return (yield from drafted(models.base(), messages, ALONE, [], max_tokens=max_tokens, seed=seed))

    return step


@step_maker(prompts=["merge", "numbered_comment"])
def draft_merged(
    models: PoolModels, prompts: PromptSet, *, communities: Sequence[str], quorum: int, max_tokens: int
) -> Body:
    """Step that writes `candidates["merge"]`: one answer that covers all comments, as in Overton mode."""

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        messages = fill(prompts["merge"], state, comments=comment_lines(prompts, present.comments))
        seed = derive_seed(state.get("seed") or 0, "merge")
        drafting = drafted(models.base(), messages, MERGED, present.names, max_tokens=max_tokens, seed=seed)
        return (yield from drafting)

    return step


@step_maker(prompts=["draft"])
def draft_of_comment(community: str, models: PoolModels, prompts: PromptSet, *, max_tokens: int) -> Body:
    """Step that writes `candidates[community]`: what the base LLM answers in the light of that community's comment."""

    def step(state: State) -> Steps:
        messages = fill(prompts["draft"], state, state["comments"][community])
        seed = derive_seed(state.get("seed") or 0, "draft", community)
        drafting = drafted(models.base(), messages, community, [community], max_tokens=max_tokens, seed=seed)
        return (yield from drafting)

    return step


def drafted(
    model: PoolModel,
    messages: Sequence[BaseMessage],
    name: str,
    rests_on: Sequence[str],
    *,
    max_tokens: int,
    seed: int,
) -> Steps:
    """The update with the candidate of that name, which is the reply to these messages."""
    try:
        # Not streamed: several are written side by side, and one of them is chosen only when all are there.
        outcome = yield ask.text(model, messages, streamed=False, max_tokens=max_tokens, seed=seed)
        reply = ask.reply(outcome, model.place)
        candidate = cast(Candidate, {**reply, "name": name, "rests_on": list(rests_on), "error": None})
    except (ModelCallError, DeadlineError, ContextOverflowError) as error:
        candidate = _unwritten(name, rests_on, redact(str(error)))
    return {"candidates": {name: candidate}}


def _unwritten(name: str, rests_on: Sequence[str], error: str) -> Candidate:
    return Candidate(
        name=name,
        rests_on=list(rests_on),
        error=error,
        text="",
        finish_reason="error",
        prompt_tokens=0,
        cached_tokens=0,
        completion_tokens=0,
        seconds=0.0,
        attempts=0,
    )


def written_candidates(state: State, names: Sequence[str]) -> dict[str, str]:
    """The texts of the candidates that could be written, by their names: those called so, in this order, and then what
    was mended.

    Raises:
        InputError: what stands in a candidate's place is none.
    """
    there: Mapping[str, Any] = state.get("candidates") or {}
    written: dict[str, str] = {}
    for name in (*names, *(repair["candidate"] for repair in state.get("repairs") or ())):
        if name not in there:
            continue
        candidate = there[name]
        text, error = (candidate.get(key) if isinstance(candidate, Mapping) else None for key in ("text", "error"))
        if not isinstance(text, str) or not (error is None or isinstance(error, str)):
            raise InputError(
                f"The candidate {name} in the state is none; write it with a `text`, and an `error` that is None or a "
                "reason, or ask anew."
            )
        if error is None:
            written[name] = text
    return written
