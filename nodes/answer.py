"""The base LLM answers: in its own words, or by choosing one of the question's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modular_pluralism.errors import InputError, ModelCallError
from modular_pluralism.llama.reply_schema import ReplySchema
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.own import heard_selected
from modular_pluralism.nodes.quorum import attendance, selected_comment
from modular_pluralism.nodes.read_options import read_options, with_fragments
from modular_pluralism.nodes.render import fill
from modular_pluralism.nodes.step import Body, QuestionParts, State, Steps, derive_seed, step_maker
from modular_pluralism.nodes.structured import SCHEMA_PROMPTS
from modular_pluralism.nodes.writing import written
from modular_pluralism.option_math import most_likely
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring

_NOT_SELECTED = "No community is selected to answer with; write `selected` into the state, or ask anew."


def _prompts(question: QuestionParts, arguments: Mapping[str, Any]) -> Sequence[str]:
    name = _prompt(question.attribute, arguments["prompt"], arguments["group_prompt"])
    scoring = arguments["scoring"]
    if question.options:
        return with_fragments(_for_options(name, scoring), scoring)
    return [name, *(SCHEMA_PROMPTS if arguments["schema"] else ())]


def _for_options(name: str, scoring: Scoring) -> str:
    return name if scoring == "text" else f"{name}_options"


def _prompt(attribute: bool, prompt: str, group_prompt: str | None) -> str:
    return group_prompt if group_prompt is not None and attribute else prompt


@step_maker(prompts=_prompts)
def answer(
    models: PoolModels,
    prompts: PromptSet,
    prompt: str,
    *,
    max_tokens: int,
    scoring: Scoring,
    samples: int,
    group_prompt: str | None = None,
    schema: ReplySchema | None = None,
) -> Body:
    """Step that writes the answer: a text in `answer`, or, where the question has options, the likeliest one in
    `choice` and all their probabilities in `distribution`. Where a community is selected, its comment is told. What a
    text has beside it, `written` says.

    `prompt` names the prompt for a text; that for a choice is called the same with `_options` after it.
    `group_prompt` takes its place where the question has an attribute.

    Raises (in the step):
        QuorumError: the selected community has failed.
        InputError: the prompt tells a comment, and no community is selected.
    """

    def step(state: State) -> Steps:
        model, name = models.base(), _prompt(bool(group_prompt and state.get("attribute")), prompt, group_prompt)
        seed, options = derive_seed(state.get("seed") or 0, name), state.get("options")
        comment = selected_comment(state)
        asked = prompts[_for_options(name, scoring) if options else name]
        if comment is None and "comment" in asked.variables:
            raise InputError(_NOT_SELECTED)
        if options:
            read = yield from read_options(
                model,
                state,
                prompts,
                _for_options(name, scoring),
                comment,
                scoring=scoring,
                samples=samples,
                seed=seed,
            )
            best = most_likely(read["probabilities"])
            return {"choice": options[best], "answer": options[best], "distribution": read}
        messages = fill(asked, state, comment)
        how: Any = {"schema": schema, "max_tokens": max_tokens, "seed": seed}
        return (yield from written(model, state, messages, prompts, **how))

    return step


@step_maker()
def own_answer(part: OwnPart, *, communities: Sequence[str]) -> Body:
    """Step that writes the answer of a part of the application's own in the light of the selected comment: a text to
    `answer` with its `usage`, or, where the question has options, the one of them that it is to `choice`, too.

    Raises (in the step):
        ModelCallError: it is none of the options.
    """

    def step(state: State) -> Steps:
        selected = selected_comment(state)
        if selected is None:
            raise InputError(_NOT_SELECTED)
        options = list(state.get("options") or [])
        given = heard_selected(state, attendance(state, communities, 1), selected)
        outcome = yield ask.own(part, given)
        reply = ask.own_reply(outcome, part.place)
        answer = {"answer": reply["text"], "usage": ask.usage(reply)}
        if not options:
            return answer
        for option in options:
            if option.strip() == reply["text"]:
                return {**answer, "answer": option, "choice": option}
        raise ModelCallError(f"{part.place} answered {reply['text']!r}, which is none of the question's options.")

    return step
