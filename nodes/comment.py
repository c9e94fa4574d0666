"""A community LM comments on the question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.messages import BaseMessage

from modular_pluralism.errors import ContextOverflowError, DeadlineError, ModelCallError, TrainingDataError
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.models.redaction import redact
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.citations import with_citations
from modular_pluralism.nodes.evidence import EVIDENCE_PROMPTS, evidence_for, evidence_text
from modular_pluralism.nodes.noted import Noted
from modular_pluralism.nodes.render import fill, plain_option_lines, turns_before, with_persona
from modular_pluralism.nodes.step import Body, QuestionParts, State, Steps, Update, derive_seed, step_maker
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Comment, CommentEvidence, EvidenceTold


@dataclass(frozen=True)
class Speaker:
    """What a node knows of its community: its name, its system prompt (or None), its comments' length, and which of its
    people's answers it is told before it comments."""

    name: str
    persona: str | None
    max_tokens: int
    evidence: EvidenceTold = "none"


def _prompts(question: QuestionParts, arguments: Mapping[str, Any]) -> Sequence[str]:
    own = ["comment_options", "plain_option"] if question.options else ["comment"]
    speaker: Speaker = arguments["community"]
    return own if speaker.evidence == "none" else [*own, *EVIDENCE_PROMPTS]


@step_maker(prompts=_prompts)
def comment(community: Speaker, models: PoolModels, prompts: PromptSet) -> Body:
    """Step that writes `comments[community]`.

    A community with a record is told what its people have answered to like questions, and its comment keeps what it was
    told and what it cites. One that fails after its retries, or whose record cannot be read or searched, leaves a
    comment with an error, so that the others are not held up: the nodes that follow decide by their quorum whether the
    run goes on.
    """

    def step(state: State) -> Steps:
        # Opened here, so that a pool that cannot work ends the run and does not pass for a silent community.
        model = models.answerer(community.name)
        seed = derive_seed(state.get("seed") or 0, "comment", community.name)
        try:
            evidence = evidence_for(community.name, models, state, community.evidence)
        except RECORD_ERRORS as error:
            return failure(state, community.name, error)
        messages = comment_prompt(community.persona, prompts, state, evidence)
        try:
            if isinstance(model, OwnPart):
                given = {**_question(state), "persona": community.persona, "seed": seed, "messages": messages}
                if evidence is not None:
                    given["answers"] = evidence["told"]
                outcome = yield ask.own(model, given, stage=False)
            else:
                outcome = yield ask.text(model, messages, max_tokens=community.max_tokens, seed=seed)
            outcome = replace(outcome, value=ask.as_message(outcome.value, model.place))
            said = cast(Comment, {"community": community.name, "error": None, **ask.reply(outcome, model.place)})
            if reasoning := outcome.value.additional_kwargs.get("reasoning_content"):
                said["reasoning"] = str(reasoning)
            if evidence is not None:
                said = with_citations({**said, "evidence": evidence})
        except (ModelCallError, DeadlineError, ContextOverflowError) as error:
            said = failed(community.name, redact(str(error)))
        return {"comments": {community.name: said}}

    return step


RECORD_ERRORS = (TrainingDataError, ModelCallError, DeadlineError, ContextOverflowError)
"""What keeps a record from being read or searched, and makes its community missing: its file may be edited while a
server runs, and the model that compares questions may be an endpoint."""


def _question(state: State) -> dict[str, Any]:
    """The question as a part of the application's own is asked it."""
    attribute = state.get("attribute")
    return {
        "question": state["question"],
        "options": list(state.get("options") or []),
        "history": turns_before(state),
        **({} if attribute is None else {"attribute": attribute}),
    }


@step_maker()
def given(community: str, said: str | Comment) -> Body:
    """Step that writes a comment that is known already, without asking the community."""
    if isinstance(said, str):
        known = Comment(**{**failed(community, ""), "text": said, "error": None, "finish_reason": "given"})
    else:
        known = with_citations(said)

    def step(_state: State) -> Update:
        return {"comments": {community: known}}

    return step


def failure(state: State, community: str, error: Exception) -> Update:
    """The update of a community that fails after its comment, or without one: what it has said, with the error.

    Nothing of it is noted, since no cache keeps a failure.
    """
    comments = (state.not_noted() if isinstance(state, Noted) else state).get("comments") or {}
    return {
        "comments": {community: {**(comments.get(community) or failed(community, "")), "error": redact(str(error))}}
    }


def failed(community: str, error: str) -> Comment:
    """The comment of a community that has not answered."""
    return Comment(
        community=community,
        text="",
        error=error,
        finish_reason="error",
        prompt_tokens=0,
        cached_tokens=0,
        completion_tokens=0,
        seconds=0.0,
        attempts=0,
    )


def comment_prompt(
    persona: str | None, prompts: PromptSet, state: Mapping[str, Any], evidence: CommentEvidence | None = None
) -> list[BaseMessage]:
    """What a community with this persona is asked, where it is asked for a comment, below what its people have answered
    where it is told that: a prompt set's own text for comments stays as it is."""
    options = state.get("options")
    told = None if evidence is None else evidence_text(prompts, evidence["told"])
    if options:
        messages = fill(prompts["comment_options"], state, above=told, options=plain_option_lines(prompts, options))
    else:
        messages = fill(prompts["comment"], state, above=told)
    return with_persona(persona, messages)
